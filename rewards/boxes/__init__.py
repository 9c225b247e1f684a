"""Boxes: their spaces, their geometry, and their text."""
