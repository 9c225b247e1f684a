"""Figures: curves, boxes on images, groups of answers."""
