"""Published data sets by name: maps from their columns to examples (`maps/*.yaml`)."""
