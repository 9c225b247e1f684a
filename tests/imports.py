"""Who imports whom in the rooms, read from the code: imports inside functions and for types alone included."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROOMS = ("rewards", "rollout", "algorithms", "experiments")


def modules() -> dict[str, Path]:
    """Every module of the rooms by its dotted name; a package is its `__init__`."""
    found = {}
    for room in ROOMS:
        for file in (ROOT / room).rglob("*.py"):
            parts = file.relative_to(ROOT).with_suffix("").parts
            found["groundrl." + ".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def imports() -> dict[str, set[str]]:
    """Module -> the modules that it imports. `from package import module` is the module, not the package."""
    known = modules()
    return {
        name: {target for target in _targets(file, known) if target != name and target in known}
        for name, file in known.items()
    }


def _targets(file: Path, known: Mapping[str, Path]) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in known else str(node.module)


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """The strongly connected components of more than one node (Tarjan, 1972), each sorted."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in graph.get(node, ()):
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            at = stack.index(node)
            component = stack[at:]
            del stack[at:]
            if len(component) > 1:
                found.append(sorted(component))

    for node in graph:
        if node not in index:
            visit(node)
    return found


def folders(graph: Mapping[str, set[str]], room: str) -> dict[str, set[str]]:
    """The same between the folders and loose files of a room, or of a folder such as `experiments.data`."""
    prefix = f"groundrl.{room}."
    joined: dict[str, set[str]] = defaultdict(set)
    for name, targets in graph.items():
        if name.startswith(prefix):
            own = name.removeprefix(prefix).split(".")[0]
            joined[own] |= {
                target.removeprefix(prefix).split(".")[0] for target in targets if target.startswith(prefix)
            } - {own}
    return dict(joined)
