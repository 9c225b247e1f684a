"""`groundrl audit`: what a reward pays for answers that never look at the image."""
