"""Pages that no file in docs/ holds: the root's files, the API (one for each room's `__all__`), metrics, all names."""

import ast
import html
import itertools
import math
import re
import sys
from collections.abc import Mapping
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
    """The page of all configuration keys stands before the FAQ, where it has been generated.

    The rooms are imported from this checkout, as mkdocstrings reads them.
    """
    sys.path.insert(0, str(ROOT / ".types"))
    if (ROOT / "docs" / "configuration.md").is_file() and config.nav is not None:
        config.nav.insert(4, {"All configuration keys": "configuration.md"})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages to those that lie in docs/."""
    for name, page in ROOT_PAGES.items():
        files.append(File.generated(config, page, content=as_page((ROOT / name).read_text())))
    for room in ROOMS:
        files.append(File.generated(config, f"api/{room}.md", content=api_page(room)))
    files.append(File.generated(config, "names.md", content=names_page()))
    files.append(File.generated(config, "metrics.md", content=metrics_page()))
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


def names_page() -> str:
    """What a configuration may name, read from the registries: one more entry there is one more line here."""
    from groundrl.algorithms.advantages import ADVANTAGES
    from groundrl.algorithms.objectives import OBJECTIVES
    from groundrl.experiments.config.load import RECIPES
    from groundrl.experiments.data.columns.column_map import MAPS
    from groundrl.experiments.metrics import METRICS
    from groundrl.experiments.tasks import TASKS
    from groundrl.rewards import FORMATS
    from groundrl.rewards.expression import REWARDS
    from groundrl.rewards.published.presets import PRESETS
    from groundrl.rollout.sampling.engines import ENGINES

    def docs(registry: Mapping[str, object]) -> dict[str, str]:
        return {name: getattr(entry, "function", entry).__doc__ or "" for name, entry in registry.items()}

    def comments(folder: Path) -> dict[str, str]:
        files = {path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.rglob("*.yaml"))}
        return {name: _opening_comment(path.read_text()) for name, path in files.items()}

    sections = {
        "Recipes": ("`groundrl train NAME`, or `sweep`", comments(RECIPES)),
        "Advantage estimators": ("`advantage:` of an RL stage", docs(ADVANTAGES)),
        "Objectives": ("`objective:` of an RL stage", docs(OBJECTIVES)),
        "Rewards": ("`NAME(...)` in the expression of a reward", docs(REWARDS)),
        "Published rewards": ("`presets.NAME()` in the expression of a reward", docs(PRESETS)),
        "Tasks": (
            "`task:` of an evaluation's data",
            {
                name: f"of {', '.join(task.needs)}; measured by {', '.join(task.metrics)}"
                for name, task in TASKS.items()
            },
        ),
        "Metrics": (
            "`metrics:`, and the `metric:` of a sweep",
            {name: each.definition for name, each in METRICS.items()},
        ),
        "Readers": ("`read:` of data, beside `conversations`", comments(MAPS)),
        "Box formats": ("`boxes:` of a model", {name: f"`{each.asked}`" for name, each in FORMATS.items()}),
        "Engines": ("`engine:`", docs(ENGINES)),
    }
    parts = [f"## {title}\n\nUse: {use}.\n\n{_listed(entries)}" for title, (use, entries) in sections.items()]
    return "# All names\n\nWhat can be named in a configuration or an expression.\n\n" + "\n\n".join(parts) + "\n"


METRICS_OPENING = """# Metrics

What the registry holds. *Reads*: the fields of the reference of which an example needs one; without any of them it is
left out of the figure. *In a run*: a run, its held-out curve, `keep_best` and a sweep can have it, as samples at
temperature 1 by its name, and as `NAME_greedy` and `NAME_cool` (temperature 0.5); `groundrl eval` can have all. A run
also has `reward_mean`, the mean of its own reward. A metric of your own: [evaluation](guides/evaluation.md).

| metric | definition | range | reads | aggregation | in a run |
|---|---|---|---|---|---|
"""


def metrics_page() -> str:
    """The table of all metrics, read from their registry."""
    from groundrl.experiments.metrics import METRICS, Metric

    def told(each: Metric) -> tuple[str, ...]:
        lo, hi = each.range
        unread = "the answer alone" if each.needs is None else "what its tool is shown"
        return (
            _quoted(each.definition).replace("|", "\\|"),
            f"{lo:g} and up" if math.isinf(hi) else f"{lo:g} to {hi:g}",
            ", ".join(f"`{field}`" for field in each.reads) or unread,
            each.aggregation,
            "no" if each.value is None else "yes",
        )

    rows = [(f"`{name}`", *told(each)) for name, each in METRICS.items()]
    return METRICS_OPENING + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _opening_comment(text: str) -> str:
    lines = itertools.takewhile(lambda line: line.startswith("#"), text.splitlines())
    return " ".join(line.removeprefix("#").strip() for line in lines)


def _listed(entries: Mapping[str, str]) -> str:
    """A list of names with what each is: the first paragraph, code as code and nothing else as markup."""
    firsts = {name: " ".join(text.strip().partition("\n\n")[0].split()) for name, text in entries.items()}
    return "\n".join(f"- `{name}`: {_quoted(text)}" for name, text in firsts.items())


def _quoted(text: str) -> str:
    """Only what stands in backticks is code; elsewhere `<`, `*` and `_` are themselves."""
    pieces = text.split("`")
    return "`".join(
        piece if k % 2 else re.sub(r"([*_\[\]])", r"\\\1", html.escape(piece, quote=False))
        for k, piece in enumerate(pieces)
    )
