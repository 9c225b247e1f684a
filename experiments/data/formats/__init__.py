"""Files that hold examples, pictures or masks, read tolerantly and refused with one sentence."""
