"""The polynomial method for append-only logs of values that are appended once."""
