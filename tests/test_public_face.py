"""What a room says it exports is there, and the notebooks need nothing else."""

import ast
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("rewards", "rollout", "algorithms", "experiments")


@pytest.mark.parametrize("room", ROOMS)
def test_every_exported_name_is_there(room):
    module = import_module(f"groundrl.{room}")
    for name in module.__all__:
        assert getattr(module, name) is not None


@pytest.mark.parametrize("room", ROOMS[1:])
def test_a_type_checker_sees_what_is_imported_late(room):
    """The imports for types alone are those of `_HOME`, and both are `__all__`."""
    module = import_module(f"groundrl.{room}")
    (block,) = (each for each in ast.parse((ROOT / room / "__init__.py").read_text()).body if isinstance(each, ast.If))
    typed = {alias.name: each.module for each in block.body if isinstance(each, ast.ImportFrom) for alias in each.names}
    assert typed == {name: f"groundrl.{room}.{home}" for name, home in module._HOME.items()}
    assert set(typed) == set(module.__all__)


@pytest.mark.parametrize("notebook", sorted((ROOT / "notebooks").glob("*.py")), ids=lambda path: path.stem)
def test_a_notebook_imports_only_what_the_rooms_export(notebook):
    found = [each for each in ast.walk(ast.parse(notebook.read_text())) if isinstance(each, ast.ImportFrom)]
    for each in found:
        if each.module.startswith("groundrl"):
            assert each.module in {f"groundrl.{room}" for room in ROOMS}
            assert {alias.name for alias in each.names} <= set(import_module(each.module).__all__)
