"""`groundrl data cells`: a benchmark of crops from pictures and masks."""
