"""The room imports numpy and itself, nothing heavy; its names are all there."""

import subprocess
import sys

import groundrl.rewards


def test_importing_rewards_loads_nothing_heavy():
    heavy = ["torch", "scipy", "PIL", "trl", "transformers", "jsonschema", "pyarrow", "httpx", "matplotlib", "pandas"]
    code = f"import sys, groundrl.rewards; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_every_public_name_exists():
    assert all(hasattr(groundrl.rewards, name) for name in groundrl.rewards.__all__)
