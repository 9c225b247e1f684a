"""The house stands: no room imports upwards, every package is installed, every room is typed."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("rewards", "rollout", "algorithms", "experiments")


def imported_rooms(file: Path) -> set[str]:
    """The rooms that a file imports, wherever in it."""
    names = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return {name.split(".")[1] for name in names if name.startswith("groundrl.")}


@pytest.mark.parametrize("place", range(len(ROOMS)))
def test_no_room_imports_upwards(place):
    above = set(ROOMS[place + 1 :])
    files = list((ROOT / ROOMS[place]).rglob("*.py"))
    assert files
    offenders = {str(file.relative_to(ROOT)) for file in files if imported_rooms(file) & above}
    assert offenders == set()


def test_every_package_is_listed_for_installation():
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = {
        "groundrl." + ".".join(init.parent.relative_to(ROOT).parts)
        for room in ROOMS
        for init in (ROOT / room).rglob("__init__.py")
    }
    assert found == listed


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_is_typed(room):
    assert (ROOT / room / "py.typed").is_file()
    assert (ROOT / ".types" / "groundrl" / room).resolve() == ROOT / room


def test_rewards_need_neither_torch_nor_scipy():
    code = "import sys, groundrl.rewards as r; print([m for m in ('torch', 'scipy', 'PIL') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_command_line_answers_without_torch():
    code = "import sys, groundrl.experiments.cli as c; print([m for m in ('torch', 'pydantic') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_files_and_functions_stay_readable():
    long = []
    for room in ROOMS:
        for file in (ROOT / room).rglob("*.py"):
            text = file.read_text()
            if text.count("\n") > 300:
                long.append(str(file))
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno > 60:
                    long.append(f"{file}:{node.name}")
    assert long == []


def test_the_training_loop_is_under_forty_lines_of_code():
    tree = ast.parse((ROOT / "algorithms" / "loop.py").read_text())
    (function,) = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "train_rl"]
    body = [node for node in function.body if not isinstance(node, ast.Expr)]  # without the docstring
    assert body[-1].end_lineno - body[0].lineno + 1 < 40
