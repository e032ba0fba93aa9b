"""The polynomial method for sets: each value by itself, and reads of everything where nothing is removed."""
