"""Every notebook runs from top to bottom on a small budget, is in step with its text, and defines no library code."""

import ast
from pathlib import Path

import jupytext
import matplotlib.pyplot as plt
import pytest

from groundrl.experiments.data.cells_benchmark.benchmark import build_cells
from groundrl.experiments.data.cells_benchmark.sample import CellSettings
from groundrl.experiments.data.formats.mask_source import MaskReading
from groundrl.experiments.data.shipped import crops

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))
RL = {"stages.rl.steps": 2, "stages.rl.prompts_per_step": 2, "stages.rl.group_size": 4, "stages.rl.max_new_tokens": 48}
SFT = {"stages.sft.steps": 2, "stages.sft.batch_size": 4}
EVALUATION = {"evaluation.samples_per_example": 1, "evaluation.max_new_tokens": 48}
# What takes the place of the values in a notebook's cell of parameters; `{test}` is a file of six crops.
SMALL = {
    "1_your_own_reward": {},
    "2_sft_to_grpo": {"OVERRIDES": SFT | RL | EVALUATION | {"data.test": "{test}"}},
    "3_reward_ablation": {
        "SEEDS": 2,
        "OVERRIDES": SFT | RL | EVALUATION | {"data.test": "{test}", "arms": ["full"], "controls": ["format_only"]},
    },
    "4_ppo_or_grpo": {
        "SEEDS": (0,),
        "SFT_OVERRIDES": SFT | EVALUATION | {"data.test": "{test}"},
        "OVERRIDES": RL | EVALUATION | {"data.test": "{test}", "evaluation.every": 1},
    },
    "5_your_model_and_data": {"CROPS": 12, "AUDITED": 3, "OVERRIDES": SFT | RL | EVALUATION},
}


@pytest.fixture(scope="module")
def test_crops(tmp_path_factory):
    """Six real crops as JSON lines: a notebook's 256 take minutes."""
    out = tmp_path_factory.mktemp("crops") / "bench"
    paths = (crops.FOLDER / "image.png", crops.FOLDER / "mask.png", out)
    settings = CellSettings(size=64, crops=12, test_share=0.5, split="region")
    build_cells(*paths, reading=MaskReading(name="nucleus"), settings=settings)
    return str(out / "test.jsonl")


def filled(value, test_crops):
    if isinstance(value, dict):
        return {key: filled(each, test_crops) for key, each in value.items()}
    return test_crops if value == "{test}" else value


def read(path):
    return [cell for cell in jupytext.read(path).cells if cell.cell_type == "code"]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_and_shows_something(notebook, tmp_path, monkeypatch, capsys, test_crops):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__main__"}
    for cell in read(notebook):
        exec(cell.source, names)
        if "parameters" in cell.metadata.get("tags", []):
            small = {name: filled(value, test_crops) for name, value in SMALL[notebook.stem].items()}
            assert small.keys() <= names.keys()
            names |= small
    plt.close("all")
    assert capsys.readouterr().out


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_says_what_its_text_says_and_holds_no_output(notebook):
    book, text = jupytext.read(notebook), jupytext.read(notebook.with_suffix(".py"))

    def parts(book):
        return [(cell.cell_type, cell.source, cell.metadata.get("tags")) for cell in book.cells]

    assert parts(book) == parts(text), "run `jupytext --sync notebooks/*.py`"
    assert not any(cell.get("outputs") for cell in book.cells)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_imports_and_defines_no_library_code(notebook):
    tree = ast.parse("\n".join(cell.source for cell in read(notebook)))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    assert all(any("reward" in ast.unparse(each) for each in node.decorator_list) for node in functions)
    assert any(isinstance(node, ast.ImportFrom) and node.module.startswith("groundrl.") for node in ast.walk(tree))


def test_there_are_five():
    assert [path.stem for path in NOTEBOOKS] == list(SMALL)
