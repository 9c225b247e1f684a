"""The rewards that this project ships of its own."""
