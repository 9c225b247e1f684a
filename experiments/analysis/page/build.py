"""`groundrl view`: a log as one self-contained HTML file.

What a model wrote is untrusted. All data stands as JSON in a script element that is not run, with every `<`, `>` and
`&` escaped; the page's script puts it on the screen as text only; and the content security policy allows this one
script and style, by their hashes, and images that are data.
"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from groundrl.experiments.analysis.page.content import page_content
from groundrl.experiments.rescoring.log import Log
from groundrl.rollout.io.records import write_text

HERE = Path(__file__).parent
SCRIPTS = ("elements.js", "completion.js", "charts.js", "page.js")  # one script in the page; the last one starts it


def write_page(log: Log, path: Path) -> None:
    """Write the page of a log, at most 50 MB: of a larger one evenly spaced groups, with a notice in the page."""
    write_text(render(log.name, page_content(log)), path)


def render(title: str, content: dict[str, Any]) -> str:
    """The whole page as HTML."""
    script, style = "\n".join((HERE / name).read_text() for name in SCRIPTS), (HERE / "page.css").read_text()
    template = Environment(autoescape=True, undefined=StrictUndefined).from_string((HERE / "page.jinja").read_text())
    return template.render(
        title=title,
        script=script,
        style=style,
        script_hash=_hash(script),
        style_hash=_hash(style),
        data=as_script_data(content),
    )


def as_script_data(content: Any) -> str:
    """JSON that no text in it can end: inside a script element only `<` matters, the others are for good measure."""
    written = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        written = written.replace(character, f"\\u{ord(character):04x}")
    return written.encode("utf-8", "replace").decode()  # a lone surrogate cannot be written


def _hash(text: str) -> str:
    """As a content security policy names a script or style."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
