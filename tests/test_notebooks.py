"""Every notebook runs from top to bottom, and none defines library code."""

import ast
import json
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))


def cells(notebook: Path) -> list[str]:
    return ["".join(c["source"]) for c in json.loads(notebook.read_text())["cells"] if c["cell_type"] == "code"]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_and_shows_something(notebook, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__main__"}
    for source in cells(notebook):
        exec(source, names)
    assert capsys.readouterr().out


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_imports_and_defines_no_class(notebook):
    tree = ast.parse("\n".join(cells(notebook)))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    assert any(isinstance(node, ast.ImportFrom) and node.module.startswith("groundrl.") for node in ast.walk(tree))


def test_there_is_one():
    assert NOTEBOOKS
