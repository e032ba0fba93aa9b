"""The general search: any model, one key at a time."""
