"""A run: `train.py` (begin and resume one), `pipeline.py` (stage after stage), `reader.py` (`Run`: what it left)."""
