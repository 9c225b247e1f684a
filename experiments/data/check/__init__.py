"""`groundrl data check`: every fault of a data set before a run finds it."""
