"""The command line: one file a command or two, their tables beside them."""
