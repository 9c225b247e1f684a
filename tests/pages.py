"""What the README and the pages of docs/ say, as text and as fenced blocks."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
}
README = PAGES["README.md"]
TEXT = "\n\n".join(PAGES.values())


@dataclass(frozen=True)
class Block:
    """A fenced block; `file` is the name in its first line, where that is a comment with one."""

    page: str
    language: str
    text: str

    @property
    def file(self) -> str | None:
        found = re.match(r"# ([\w/]+\.(?:py|yaml))\n", self.text)
        return found.group(1) if found else None


BLOCKS = [
    Block(page, language, text)
    for page, content in PAGES.items()
    for language, text in re.findall(r"^```(\w*)\n(.*?)^```$", content, re.DOTALL | re.MULTILINE)
]


def blocks(language: str) -> list[str]:
    return [block.text for block in BLOCKS if block.language == language]


def block(language: str, mark: str) -> str:
    """The only block of a language that holds a mark."""
    (found,) = (text for text in blocks(language) if mark in text)
    return found
