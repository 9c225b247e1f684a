"""How does the policy learn? SFT on Lightning, RL on Fabric. Read `loop.py` first: one step."""
