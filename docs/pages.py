"""The files of the root that are pages of the site, and the pages of the API: one for each room's `__all__`."""

import ast
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
ROOT_PAGES = {
    "README.md": "index.md",
    "BENCHMARKS.md": "benchmarks.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
ROOMS = ("rewards", "rollout", "algorithms", "experiments")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """The page of all configuration keys stands before the FAQ, where it has been generated."""
    if (ROOT / "docs" / "configuration.md").is_file() and config.nav is not None:
        config.nav.insert(4, {"All configuration keys": "configuration.md"})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages to those that lie in docs/."""
    for name, page in ROOT_PAGES.items():
        files.append(File.generated(config, page, content=as_page((ROOT / name).read_text())))
    for room in ROOMS:
        files.append(File.generated(config, f"api/{room}.md", content=api_page(room)))
    return files


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Refuse a page that would ask the network for a script, a style or a picture."""
    asked = re.findall(r'<(?:script|img|iframe)[^>]+src="(https?://[^"]+)|<link[^>]+href="(https?://[^"]+)', output)
    if asked:
        raise PluginError(f"{page.file.src_uri} asks the network for {', '.join(a or b for a, b in asked)}")
    return output


def as_page(text: str) -> str:
    """A file of the root with its links as they are seen from docs/."""
    text = text.replace("](docs/", "](")
    for name, page in ROOT_PAGES.items():
        text = text.replace(f"]({name}", f"]({page}")
    return text


def public_names(room: str) -> list[str]:
    """A room's `__all__`, read from its text: nothing is imported."""
    tree = ast.parse((ROOT / room / "__init__.py").read_text())
    (value,) = (
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]
    )
    return sorted(ast.literal_eval(value), key=lambda name: (not name[0].isupper(), name.lower()))


def api_page(room: str) -> str:
    """The page of a room: what it says of itself, then each public name."""
    opening = ast.get_docstring(ast.parse((ROOT / room / "__init__.py").read_text())) or ""
    opening = re.sub(r"\s*Each name is imported when it is first asked for.*", "", opening, flags=re.DOTALL)
    names = "\n\n".join(f"::: groundrl.{room}.{name}" for name in public_names(room))
    return f"# groundrl.{room}\n\n{opening}\n\n{names}\n"
