"""Rewards of the literature, by their formulas."""
