"""Nothing is left behind: the watchdog and its list, how an entry is undone, how leftovers are known."""
