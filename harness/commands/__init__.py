"""The commands of the command line, one file a group; imported when they run."""
