"""What the README and the pages of docs/ claim, done: code, commands, files. Only sizes are made small."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image

import groundrl.experiments.runs.train
from groundrl.experiments import load_run
from groundrl.experiments.config.load import load_config
from groundrl.experiments.config.rewards import build_reward
from groundrl.experiments.data import NucleiCrops
from groundrl.experiments.data.sources import load_source
from groundrl.rewards.audit import audit
from groundrl.rewards.core.function import load_module
from groundrl.rewards.core.reward import parts_of

ROOT = Path(__file__).parent.parent
pages = load_module("pages", str(ROOT / "tests" / "pages.py"))
README, TEXT, blocks, block = pages.README, pages.TEXT, pages.blocks, pages.block
SMALL = {
    "data.test": None,
    "stages.sft.steps": 1,
    "stages.sft.batch_size": 4,
    "stages.rl.steps": 4,
    "stages.rl.prompts_per_step": 4,
    "stages.rl.group_size": 2,
    "stages.rl.max_new_tokens": 24,
}


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A folder with the README's reward file in it, as a user would have."""
    (tmp_path / "my_rewards.py").write_text(block("python", "# my_rewards.py"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_a_reward_is_ten_lines():
    code = block("python", "# my_rewards.py")
    function = code[code.index("@reward") :]
    assert len([line for line in function.splitlines() if line.strip()]) <= 10


def test_its_test_is_five_lines_and_passes(work, capsys):
    code = block("python", "# test_my_rewards.py")
    names: dict[str, object] = {}
    exec(code, names)
    names["test_the_gold_answer_is_best_and_a_shifted_box_is_not"]()
    assert "1 predicted, 1 true" in capsys.readouterr().out
    assert len(code[code.index("def test") :].strip().splitlines()) == 5


def test_the_python_face(work, monkeypatch):
    real = groundrl.experiments.runs.train.train
    monkeypatch.setattr(
        groundrl.experiments.runs.train, "train", lambda *a, **k: real(*a, **k, overrides=SMALL, progress=False)
    )
    code = block("python", "run = train(").replace("step=100, group=3", "step=5, group=3")
    names: dict[str, object] = {}
    exec(code, names)
    run = names["run"]
    assert run.folder == Path("runs/tight")
    assert run.rollouts.num_rows == 4 * 4 * 2
    assert {"parts/tight", "parts/soft_f1", "parts/format"} <= set(run.rollouts.column_names)
    assert "def tight" in (run.folder / "reward.py").read_text()


def test_the_command_line(work):
    command = block("bash", "groundrl train quickstart name=tight").strip()
    overrides = [f"{key}={json.dumps(value)}" for key, value in SMALL.items()]
    done = subprocess.run(
        f"{sys.executable} -m groundrl.experiments.cli{command.removeprefix('groundrl')} " + " ".join(overrides),
        shell=True,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    run = load_run("tight")
    assert {"parts/tight", "parts/box", "parts/format"} <= set(run.rollouts.column_names)
    assert run.config.seed == 1
    assert "runs/tight/metrics.jsonl" in done.stdout


def user_files(folder: Path, model: Path) -> Path:
    """mine.yaml, train.jsonl and test.jsonl with the README's own lines, and the image they name."""
    line = json.loads(blocks("json")[0])
    for split in ("train", "test"):
        (folder / f"{split}.jsonl").write_text(
            "".join(json.dumps({**line, "id": f"{split}{k}"}) + "\n" for k in range(4))
        )
    Image.new("RGB", (512, 512), (40, 40, 40)).save(folder / "a1.png")
    config = yaml.safe_load(block("yaml", "mine.yaml"))
    config["model"]["path"] = str(model)
    (folder / "mine.yaml").write_text(yaml.safe_dump(config))
    return folder / "mine.yaml"


OWN = {
    "stages.sft.steps": 1,
    "stages.sft.batch_size": 2,
    "stages.rl.steps": 1,
    "stages.rl.prompts_per_step": 2,
    "stages.rl.group_size": 2,
    "stages.rl.max_new_tokens": 8,
    "evaluation.samples_per_example": 1,
    "evaluation.max_new_tokens": 8,
}


def test_your_own_model_and_data(work, tiny_vl):
    run = groundrl.experiments.runs.train.train(user_files(work, tiny_vl), overrides=OWN, progress=False)
    assert run.evaluation["num_examples"] == 4
    assert run.config.model.dtype == "bfloat16"
    assert run.metrics[-1]["ref_kl"] is not None
    from transformers import AutoModelForImageTextToText

    AutoModelForImageTextToText.from_pretrained(run.checkpoint("rl"))


def test_several_processes(work, tiny_vl):
    config = user_files(work, tiny_vl)
    command = re.search(r"`torchrun (.*?)`", TEXT.replace("\n", " ")).group(1).replace("mine.yaml", str(config))
    overrides = " ".join(f"{key}={json.dumps(value)}" for key, value in {**OWN, "data.test": None}.items())
    done = subprocess.run(
        f"{sys.executable} -m torch.distributed.run --master-port 29611 {command} {overrides} hardware.accelerator=cpu",
        shell=True,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    run = load_run("mine")
    assert [row["step"] for row in run.metrics] == [1, 2]
    assert run.rollouts.num_rows == 4


def test_coco(work):
    spec = yaml.safe_load(re.search(r"`data: (\{train: \{coco:.*?\})`", TEXT).group(1))["train"]
    (work / "folder").mkdir()
    Image.new("RGB", (64, 64)).save(work / "folder" / "a.png")
    coco = {
        "images": [{"id": 1, "file_name": "a.png", "width": 64, "height": 64}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [8, 8, 16, 16]}],
        "categories": [{"id": 1, "name": "cell"}],
    }
    (work / "annotations.json").write_text(json.dumps(coco))
    (example,) = [load_source(spec, seed=0, base=work)[0]]
    assert example.reference.boxes.xyxy.tolist() == [[8, 8, 24, 24]]


def test_every_file_that_it_names_is_there():
    for name in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / name).exists(), name
    tree = next(block for block in blocks("") if block.startswith("rewards/"))
    for line in tree.splitlines():
        room, text = line.split(None, 1)
        for name in re.findall(r"[a-z_/]+\.py|[a-z_]+/(?=[,\s]|$)", text):
            assert (ROOT / room / name).exists(), (room, name)


def test_the_run_folder_is_as_it_says():
    tree = next(block for block in blocks("") if block.startswith("runs/"))
    for name in ("config.yaml", "environment.json", "metrics.jsonl", "evaluation.json", "summary.png", "images/"):
        assert name in tree


def test_make_knows_its_two_commands():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"make ([a-z-]+)", TEXT)) <= targets
    assert "make test" in (ROOT / ".ci" / "run").read_text()


def test_the_yaml_of_the_readme_is_a_valid_configuration(tmp_path):
    (tmp_path / "mine.yaml").write_text(block("yaml", "mine.yaml"))
    assert load_config(tmp_path / "mine.yaml", {})[0].stages[1].kl_coef == 0.001
    (tmp_path / "judged.yaml").write_text(block("yaml", "judged.yaml"))
    config = load_config(tmp_path / "judged.yaml", {})[0]
    assert any(part.costly for part in parts_of(build_reward(config, tmp_path)))


def test_the_stages_of_the_readme_run(tiny_vl, tmp_path, monkeypatch):
    """On the README's own line of data, a step each."""
    user_files(tmp_path, tiny_vl)
    for name in ("captions", "vqa", "grounding", "validation"):
        (tmp_path / f"{name}.jsonl").write_text((tmp_path / "train.jsonl").read_text())
    config = yaml.safe_load(block("yaml", "# stages.yaml"))
    config["model"] |= {"path": str(tiny_vl), "dtype": "float32"}
    config["evaluation"] |= {"every": 1, "samples_per_example": 1, "max_new_tokens": 4}
    for stage in config["stages"]:
        stage |= {"steps": 2, "batch_size": 2, "resolution": {"min_pixels": 1024, "max_pixels": 4096}}
    (tmp_path / "stages.yaml").write_text(yaml.safe_dump(config))
    run = groundrl.experiments.runs.train.train(tmp_path / "stages.yaml", runs=tmp_path / "runs", progress=False)
    assert list(run.evaluation["stages"]) == ["general", "grounding"]
    assert (run.folder / "checkpoints" / "general" / "best" / "best.json").is_file()


def run(command: str) -> subprocess.CompletedProcess[str]:
    """A line of the pages, as a user types it."""
    words = f"{sys.executable} -m groundrl.experiments.cli {command.removeprefix('groundrl ')}"
    return subprocess.run(words, shell=True, capture_output=True, text=True)


def test_a_model_is_evaluated_and_asked_as_it_says(work):
    question = {
        "question": "Which?",
        "answer": "a",
        "answer_idx": "A",
        "options": {"A": "a", "B": "b"},
        "meta_info": "",
    }
    (work / "medqa").mkdir()
    (work / "medqa" / "test.jsonl").write_text(json.dumps(question) + "\n")
    (work / "plan.yaml").write_text(block("yaml", "# plan.yaml"))
    (work / "cells.png").write_bytes(NucleiCrops("test")[3].images[0].source)
    evaluate, predict = block("bash", "groundrl predict").splitlines()
    done = run(f"{evaluate} data.nuclei.limit=3")
    assert done.returncode == 0, done.stderr
    content = json.loads((work / "evaluated" / "evaluation.json").read_text())
    assert set(content["datasets"]) == {"medqa", "nuclei"}
    assert "medevalkit" in (work / "evaluated" / "evaluation.md").read_text()
    done = run(predict)
    assert done.returncode == 0, done.stderr
    assert {file.suffix for file in (work / "predicted").iterdir()} == {".json", ".png"}


def test_data_are_checked_and_cut_as_it_says(work, tiny_vl):
    user_files(work, tiny_vl)
    for folder, name in (("pictures", "image.png"), ("masks", "mask.png")):
        (work / folder).mkdir()
        picture = Image.open(ROOT / "experiments" / "data" / "shipped" / "nuclei" / name)
        picture.save(work / folder / "a.png")
        picture.transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(work / folder / "b.png")
    check, cut = (line.partition("#")[0].strip() for line in block("bash", "groundrl data cells").splitlines())
    done = run(check)
    assert done.returncode == 1, "the README's train and test show one picture"
    assert "1 leak(s)" in done.stdout
    done = run(f"{cut} --crops 20 --size 64")
    assert done.returncode == 0, done.stderr
    assert {"train.jsonl", "test.jsonl", "README.md"} <= {file.name for file in (work / "cells").iterdir()}
    spec = yaml.safe_load(re.search(r"`data: (\{train: \{images: pictures.*?\}\})`", TEXT).group(1))["train"]
    assert len(load_source(spec, seed=0, base=work)) == 2


def test_the_audits_exit_as_it_says(work):
    for line in block("bash", "groundrl audit").splitlines():
        command, code = re.fullmatch(r"groundrl (audit .*?) +# exit code (\d).*", line).groups()
        done = subprocess.run(
            f"{sys.executable} -m groundrl.experiments.cli {command} --examples 40", shell=True, capture_output=True
        )
        assert done.returncode == int(code), done.stderr
        assert (work / "audit" / "audit.json").is_file()
        assert (work / "audit" / "audit.png").is_file()


def test_a_spoiled_answer_earns_what_it_says(work):
    names: dict[str, object] = {}
    exec(block("python", "# my_rewards.py"), names)
    crops = NucleiCrops("train")
    report = audit(names["tight"], [crops[index] for index in range(40)])
    (spoiled,) = (policy for policy in report.policies if policy.name == "gold plus ten false boxes")
    assert spoiled.flagged
    assert spoiled.scale == 1.0


def test_facts_are_compared(capsys):
    exec(block("python", "Factuality()"), {})
    assert "contradict" in capsys.readouterr().out


def test_an_adapter_is_asked_for_as_it_says():
    lora = yaml.safe_load(re.search(r"`(model: \{path: \.\.\., lora: .*?\}\})`", TEXT).group(1))
    assert load_config("quickstart", {"model.lora": lora["model"]["lora"]})[0].model.lora.rank == 16
