"""`groundrl eval`: answers of a model to data sets (`answers`), their figures (`scores`), tables and comparisons."""
