"""``python -m harness``: the same as ``capsize``."""

from harness.cli import main

main()
