"""What a YAML file may say: `run.py` and its parts, `load.py` (reading it), `rewards.py` (the reward that it names)."""
