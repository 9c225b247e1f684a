"""A section of BENCHMARKS.md that a command writes, between two marks."""

from __future__ import annotations

from pathlib import Path

from groundrl.rollout.io.records import write_text


def write_section(text: str, path: Path, *, start: str, end: str) -> None:
    """Put a text that begins and ends with these marks where it stood before, else at the end."""
    before = path.read_text() if path.is_file() else "# Benchmarks\n"
    head, found, rest = before.partition(start)
    tail = rest.partition(end)[2] if found else ""
    write_text(f"{head.rstrip()}\n\n{text}\n{tail}", path)
