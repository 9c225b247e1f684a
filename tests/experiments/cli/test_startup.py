"""A command that reads data or a recorded run waits for no library that it does not use."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

RECORDED = Path(__file__).parents[1] / "runs" / "recorded"
SLOW_TO_IMPORT = ("torch", "transformers", "peft", "lightning", "scipy", "matplotlib")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A recorded run, and data: text; pictures whose gold answers and references have boxes."""
    folder = tmp_path_factory.mktemp("startup")
    shutil.copytree(RECORDED, folder, dirs_exist_ok=True)
    example = {"id": "sum", "prompt": "What is 2 plus 2?", "answer": "4", "reference": "4"}
    (folder / "text.jsonl").write_text(json.dumps(example) + "\n")
    return folder


@pytest.mark.parametrize(
    ("command", "used"),
    [
        (["--help"], []),
        (["data", "check", "text.jsonl"], []),
        (["data", "check", "test.jsonl"], ["matplotlib"]),  # a sheet of the pictures
        (["view", "killed"], []),
        (["rescore", "killed", "--reward", "LabelAccuracy()"], ["torch"]),  # new advantages are estimated
    ],
    ids=" ".join,
)
def test_a_command_imports_what_it_uses(folder, command, used):
    code = (
        f"import sys; sys.argv = ['groundrl', *{command}]\n"
        "from groundrl.experiments.cli.main import main\n"
        "try:\n    main()\n"
        f"finally:\n    print('loaded:', [m for m in {SLOW_TO_IMPORT} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"loaded: {used}"
