"""Polynomial methods for locks: those that anybody may release, those of owners, and those that hand out tokens."""
