"""Reward ablations: arms from one checkpoint, compared over seeds with honest error bars.

Read `statistics.py` (the numbers), `settings.py` (what a sweep's YAML says), `arms.py` (what it means), `sweep.py`.
"""
