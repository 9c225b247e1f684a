"""Every command of the README and the pages is one the command line takes, every key is valid, every snippet runs."""

import ast
import html
import importlib
import re
import shlex
import sys
from pathlib import Path

import click
import pytest
import typer.main
import yaml
from typer.testing import CliRunner

from groundrl.experiments import NucleiCrops, load_config, train
from groundrl.experiments.ablation.arms import make_arms
from groundrl.experiments.ablation.settings import load_sweep_settings
from groundrl.experiments.cli.main import app
from groundrl.experiments.config.load import parse_overrides
from groundrl.experiments.config.model import ModelConfig
from groundrl.experiments.config.rewards import load_metrics
from groundrl.experiments.config.run import RunConfig
from groundrl.experiments.config.stage import RLStage, SFTStage
from groundrl.experiments.evals.config import load_eval_config
from groundrl.experiments.metrics import METRICS
from groundrl.rewards import Completion
from groundrl.rewards.core.function import load_module

ROOT = Path(__file__).parent.parent
pages = load_module("pages", str(ROOT / "tests" / "pages.py"))
site = load_module("site_pages", str(ROOT / "docs" / "pages.py"))
SMALL = {
    **{"data.test": None, "audit": "off", "stages.sft.steps": 1, "stages.sft.batch_size": 4, "stages.rl.steps": 2},
    **{"stages.rl.prompts_per_step": 2, "stages.rl.group_size": 2, "stages.rl.max_new_tokens": 24},
}
INLINE = [code.replace("\n", " ") for code in re.findall(r"(?<!`)`([^`]+)`(?!`)", pages.TEXT)]
LINES = [line.partition("  #")[0].strip() for text in pages.blocks("bash") for line in text.splitlines()]
COMMANDS = [line for line in [*LINES, *INLINE] if re.match(r"groundrl \w", line)]
SETTINGS = [code for code in INLINE if re.match(r"[a-z_]+: ", code) and "..." not in code]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What a reader has: the files of the pages, and a run called quickstart."""
    folder = tmp_path_factory.mktemp("reader")
    for block in pages.BLOCKS:
        if block.file is not None:
            (folder / block.file).write_text(block.text)
    (folder / "rollouts.jsonl").write_text(pages.block("json", '"completion"'))
    train("quickstart", overrides=SMALL, runs=folder / "runs", progress=False)
    return folder


@pytest.fixture
def reader(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    yield folder
    sys.modules.pop("my_rewards", None)


def parse(words: list[str]) -> None:
    """Refuses what the command line would: an unknown command or option, a value out of bounds, too few arguments.

    Prose may name a command without its arguments.
    """
    command, name = typer.main.get_command(app), "groundrl"
    context = click.Context(command, info_name=name)
    while hasattr(command, "resolve_command") and words:
        name, command, words = command.resolve_command(context, words)
    if words:
        command.make_context(name, words, parent=context)


@pytest.mark.parametrize("command", sorted(set(COMMANDS)))
def test_every_command_is_one_that_the_command_line_takes(command):
    parse(shlex.split(command)[1:])


def test_a_command_that_it_does_not_take_is_found():
    for words in (["trian", "quickstart"], ["view", "quickstart", "--otu", "x"], ["train", "--runs"]):
        with pytest.raises(Exception, match=r"No such|requires an argument"):  # typer has a click of its own
            parse(words)


def test_every_line_of_a_shell_is_of_a_known_kind():
    known = re.compile(r"make [a-z-]+|groundrl |\. \.venv/bin/activate$")
    assert [line for line in LINES if line and not known.match(line)] == []


@pytest.mark.parametrize("name", sorted(block.file for block in pages.BLOCKS if (block.file or "").endswith(".yaml")))
def test_every_yaml_file_is_valid(name, reader):
    content = yaml.safe_load((reader / name).read_text())
    if "base" in content:
        settings, base = load_sweep_settings(name, {})
        make_arms(settings, load_config(settings.base, settings.overrides)[0], base)
    elif "stages" in content:
        load_config(name, {})
    else:
        load_eval_config(name, {})


def test_every_override_of_a_training_is_valid(reader):
    lines = [shlex.split(line) for line in COMMANDS if line.startswith("groundrl train ")]
    assert len(lines) > 3
    for _, _, config, *pairs in lines:
        load_config(config, parse_overrides(pairs))


@pytest.mark.parametrize("setting", sorted(set(SETTINGS)))
def test_every_setting_named_in_a_text_is_valid(setting):
    given = yaml.safe_load(f"{{{setting}}}" if setting.count(": ") > 1 and "{" not in setting[:20] else setting)
    overrides = {"evaluation.every": 1, "model.lora": {}}
    for key, value in given.items():
        stages = [kind for kind, keys in (("rl", RLStage), ("sft", SFTStage)) if key in keys.model_fields]
        if key in RunConfig.model_fields:
            overrides = {name: old for name, old in overrides.items() if name.split(".")[0] != key} | {key: value}
        elif key in ModelConfig.model_fields:
            overrides[f"model.{key}"] = value
        elif stages:
            overrides[f"stages.{stages[0]}.{key}"] = value
        else:
            assert key in ("read", "compat"), f"there is no key {key}"  # of data, and a row of an evaluation
    load_config("quickstart", overrides)


def test_every_key_with_dots_is_one():
    kinds = {"rl": RLStage, "sft": SFTStage}
    named = set(re.findall(r"\bstages\.(rl|sft)\.(\w+)", pages.TEXT))
    assert named
    assert [(stage, key) for stage, key in named if key not in kinds[stage].model_fields] == []


@pytest.mark.parametrize("page", sorted({block.page for block in pages.BLOCKS if block.language == "python"}))
def test_the_code_of_a_page_runs(page, reader):
    """From top to bottom; what trains, and the test of a reward, is run in test_readme.py."""
    names: dict[str, object] = {}
    for block in pages.BLOCKS:
        if (block.page, block.language) == (page, "python") and block.file is None and "train(" not in block.text:
            exec(block.text, names)


@pytest.mark.parametrize("line", sorted({line for line in LINES if re.match(r"groundrl (view|plot|rescore) ", line)}))
def test_a_recorded_run_is_looked_at(line, reader):
    words = shlex.split(line)[1:]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, (done.output, done.exception)
    out = words[words.index("--out") + 1] if "--out" in words else {"view": "runs/quickstart/page.html"}.get(words[0])
    assert out is None or (reader / out).exists()


@pytest.mark.parametrize("room", site.ROOMS)
def test_the_page_of_a_room_has_each_public_name(room):
    module = importlib.import_module(f"groundrl.{room}")
    named = re.findall(rf"^::: groundrl\.{room}\.(\w+)$", site.api_page(room), re.MULTILINE)
    assert sorted(named) == sorted(module.__all__)
    assert [name for name in named if callable(getattr(module, name)) and not getattr(module, name).__doc__] == []


def test_the_table_of_metrics_is_complete_and_says_what_the_registry_does():
    _, _, *lines = [line for line in site.metrics_page().splitlines() if line.startswith("|")]
    table = {cells[0].strip("`"): cells[1:] for line in lines for cells in [line.strip("| ").split(" | ")]}
    assert list(table) == list(METRICS)
    assert {len(cells) for cells in table.values()} == {5}
    words = [re.sub(r"\\", "", html.unescape(cells[0])) for cells in table.values()]
    assert words == [metric.definition for metric in METRICS.values()]
    mean = "mean of an example's samples, mean over examples"
    assert table["soft_f1"][1:] == ["0 to 1", "`boxes`", mean, "yes"]
    assert table["iou_best_of_n"][1:] == ["0 to 1", "`boxes`", mean.replace("mean", "best", 1), "yes"]
    assert table["completion_length"][1:] == ["0 and up", "the answer alone", mean, "yes"]
    texts = "`references`, `report`, `label`"
    assert table["bleu_4"][1:] == ["0 to 1", texts, "of sums over the whole data set", "no"]
    assert table["cider"][1:] == ["0 to 10", texts, "mean over examples", "no"]
    assert table["judge"][1:] == ["0 to 1", "what its tool is shown", "mean over examples", "no"]


def test_the_metric_of_the_pages_measures(reader):
    (own,) = load_metrics({"right_number": "my_metrics.py:right_number"}, reader).values()
    example = NucleiCrops("test")[1]
    assert own.value(Completion(text=example.answer, box_space=example.box_space), example) == 1.0
    assert own.value(Completion(text="no nuclei", box_space=example.box_space), example) == 0.0


def test_the_code_imports_the_public_face():
    inner = []
    for block in pages.BLOCKS:
        for node in ast.walk(ast.parse(block.text)) if block.language == "python" else ():
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("groundrl."):
                inner += [node.module] if node.module.count(".") > 1 else []
    assert inner == []


def test_the_readme_is_short():
    assert len(pages.README.encode()) <= 8_000
