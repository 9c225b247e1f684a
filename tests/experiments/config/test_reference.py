"""The page of all keys is that of the code, and leaves no key without its meaning."""

import re
from pathlib import Path
from typing import get_args

import pytest
import yaml
from typer.testing import CliRunner

from groundrl.experiments.ablation.settings import SweepSettings
from groundrl.experiments.cli.main import app
from groundrl.experiments.config.reference import bounds_of, default_of, type_of
from groundrl.experiments.config.run import RunConfig
from groundrl.experiments.config.stage import RLStage, SFTStage
from groundrl.experiments.evals.config import EvalConfig
from groundrl.rollout.settings import Settings

PAGE = (Path(__file__).parents[3] / "docs" / "configuration.md").read_text()
ROWS = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \| (.*?) ?\| (.*) \|$", PAGE, re.MULTILINE)


def inside(kind):
    """The classes of settings that an annotation names, and those in their fields."""
    if isinstance(kind, type) and issubclass(kind, Settings):
        return {kind}.union(*(inside(field.annotation) for field in kind.model_fields.values()))
    return set().union(*(inside(each) for each in get_args(kind)))


def section(title):
    """The rows below a heading, key -> the default shown."""
    table = PAGE.partition(f"### {title}\n")[2].partition("\n#")[0]
    return dict(re.findall(r"^\| `(\w+)` \| .*? \| (required|`[^|]*`) \|", table, re.MULTILINE))


def test_the_committed_page_is_what_the_command_prints():
    done = CliRunner().invoke(app, ["keys"])
    assert done.exit_code == 0
    assert done.output == PAGE, "make it anew: groundrl keys > docs/configuration.md"


@pytest.mark.parametrize("file", [RunConfig, SweepSettings, EvalConfig])
def test_every_key_has_a_meaning_and_is_on_the_page(file):
    shown = {(key, meaning) for key, _, _, _, meaning in ROWS}
    fields = [(kind, key, field) for kind in inside(file) for key, field in kind.model_fields.items()]
    assert [f"{kind.__name__}.{key}" for kind, key, field in fields if (key, field.description) not in shown] == []


def test_every_row_has_a_default_or_is_required():
    assert len(ROWS) == sum(line.startswith("| `") for line in PAGE.splitlines())
    assert [row for row in ROWS if not re.fullmatch("required|`.+`", row[2])] == []


@pytest.mark.parametrize(("kind", "name"), [(RLStage, "rl"), (SFTStage, "sft")])
def test_a_stage_shows_the_defaults_that_it_has(kind, name):
    shown = section("`stages.NAME`") | section(f"`stages.NAME`, kind `{name}`")
    needed = {"name": "x", "kind": name, "steps": 1}
    assert set(shown) == set(kind.model_fields)
    assert {key for key, default in shown.items() if default == "required"} == set(needed)
    written = {key: yaml.safe_load(default.strip("`")) for key, default in shown.items() if key not in needed}
    assert kind.model_validate(needed | written) == kind(**needed)


def test_every_link_leads_to_one_heading():
    """Anchors are as GitHub and the site make them: lower case; letters, digits, `_` and hyphens for spaces."""
    titles = re.findall(r"^#+ (.*)", PAGE, re.MULTILINE)
    anchors = [re.sub(r"[^a-z0-9_ -]", "", title.lower()).replace(" ", "-") for title in titles]
    assert len(set(anchors)) == len(anchors)
    assert set(re.findall(r"\]\(#(.*?)\)", PAGE)) <= set(anchors)


def test_the_words_of_a_type_a_default_and_a_bound():
    inner = {"$ref": "#/$defs/Inner", "default": {"key": 1}}
    choice = {"anyOf": [{"enum": ["a", "b"], "type": "string"}, {"type": "null"}]}
    share = {"anyOf": [{"type": "number", "exclusiveMinimum": 0.0, "maximum": 1.0}, {"type": "null"}]}
    numbers = {"type": "array", "minItems": 1, "items": {"minimum": 3, "type": "integer"}}
    assert type_of(choice, {}) == "`a`, `b` or null"
    assert type_of(numbers, {}) == "list of whole numbers"
    assert type_of({"items": inner, "type": "array"}, {"Inner": "inner"}) == "list of [mappings](#inner)"
    assert [default_of(each) for each in (inner, {"default": True}, {"default": "grpo"})] == [
        "`{}`",
        "`true`",
        "`grpo`",
    ]
    assert list(bounds_of(share)) == ["above 0", "at most 1"]
    assert list(bounds_of(numbers)) == ["at least 1 of them", "each at least 3"]
