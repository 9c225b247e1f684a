"""The benchmark of rollouts: everybody does the same work, and the report says what was measured."""

import json

import pytest
import torch

from groundrl.experiments.bench.rollouts import report
from groundrl.experiments.bench.rollouts.cases import CASES, Case, all_cases, build, random_completions
from groundrl.experiments.bench.rollouts.contenders import Ours, Padded, Trl
from groundrl.experiments.bench.rollouts.measure import operations
from groundrl.experiments.bench.rollouts.plots import draw
from groundrl.rollout.settings import Sampling

SECONDS = {
    "update/ours": (1.0, 2.0),
    "update/trl": (7.0, 6.0),
    "update/trl_compact": (5.0, 5.5),
    "update/padded": (4.0, 3.0),
    "generate/ours": (2.0, 1.5),
    "generate/trl": (9.0, 8.0),
    "generate/padded": (3.0, 5.0),
}
TIMES = {
    "seconds": {
        **{f"{name}/float32": seconds for name, (seconds, _) in SECONDS.items()},
        **{f"{name}/bfloat16": seconds for name, (_, seconds) in SECONDS.items()},
        "optimizer": 1.0,
    },
    "bound": 5.5,
    "floor": {"float32": 0.5, "bfloat16": 0.25},
    "prompt": 512,
    "threads": 2,
    "device": "cpu",
    "forms": ["padded"],
}
MEMORY = {"ours": 1e9, "trl": 4e9, "padded": 2e9}


@pytest.mark.parametrize("shape", ["tiny", "qwen3_vl"])
def test_all_contenders_leave_the_same_gradients(shape):
    """Ragged completions; TRL knows no forbidden tokens. And all can sample."""
    case = Case(shape=shape, prompt=12, completion=5, group=3, shortest=2, rows=2)
    policy, examples = build(case, "float32")
    policy.model.eval()
    completions = random_completions(case)
    assert [len(one.token_ids) for one in completions[0]] == [2, 4, 5]
    gradients = {}
    forbidding = policy.allowed.clone()
    for name, make in {
        "padded": Padded,
        "ours": Ours,
        "trl": Trl,
        "compact": lambda *arguments: Trl(*arguments, compact=True),
    }.items():
        runner = make(case, policy, examples)
        policy.model.zero_grad(set_to_none=True)
        policy.allowed[:] = True
        runner.update(completions)
        policy.allowed.copy_(forbidding)
        gradients[name] = torch.cat([p.grad.flatten() for p in policy.model.parameters() if p.grad is not None])
        runner.generate()
    for gradient in gradients.values():
        assert (gradient - gradients["padded"]).norm() < 1e-4 * gradients["padded"].norm()


def test_trl_samples_and_updates_in_the_precision_of_the_case():
    """As in its training, where accelerate has wrapped the model's forward."""
    case = Case(shape="tiny", prompt=12, completion=3, group=2)
    policy, examples = build(case, "bfloat16")
    found = []
    policy.model.model.layers[0].mlp.register_forward_hook(lambda module, inputs, output: found.append(output.dtype))
    runner = Trl(case, policy, examples)
    runner.generate()
    sampled = len(found)
    runner.update(random_completions(case))
    assert 0 < sampled < len(found)
    assert set(found) == {torch.bfloat16}


def test_a_case_of_cuda_is_refused_without_it(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="the case 'CUDA, 135M, prompt 512 x 8' needs a CUDA device"):
        report.bench_rollouts("CUDA, 135M, prompt 512 x 8", folder=tmp_path)
    assert all(CASES[name].device == "cpu" for name in all_cases() if name != "plots")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert [CASES[name].device for name in all_cases()] == ["cuda"]


def test_an_answer_goes_on_to_its_full_length():
    case = Case(shape="tiny", prompt=12, completion=5, group=2)
    policy, examples = build(case, "float32")
    ours = Ours(case, policy, examples)
    groups = ours.engine.generate(examples, group_size=2, sampling=Sampling(max_new_tokens=5), seed_keys=["k"])
    assert [len(one.token_ids) for group in groups for one in group.completions] == [5, 5]


def test_the_entry_of_a_case_by_hand():
    """Step: sampling, update and optimizer, each at its best: ours 2 + 1 + 1 = 4 in float32 (1.5 + 2 + 1 in bfloat16),
    TRL 8 + 6 + 1 = 15 in bfloat16 (9 + 7 + 1), without its prompt head 8 + 5.5 + 1 = 14.5, padded 3 + 4 + 1."""
    entry = report.combine(TIMES, MEMORY)
    precision = {"ours": "float32", "trl": "bfloat16", "trl_compact": "bfloat16", "padded": "float32"}
    assert entry["precision"] == precision
    assert entry["step"] == {
        "ours": 4.0,
        "trl": 15.0,
        "padded": 8.0,
        "ratio": 15 / 4,
        "ratio_without_prompt_head": 14.5 / 4,
        "bound": 5.5,
    }
    assert entry["peak_memory"]["ratio"] == 4.0
    assert entry["update"]["ratio_without_prompt_head"] == 5.5
    assert entry["update_over_floor"] == 2.0
    ragged = {**TIMES, "seconds": {n: v for n, v in TIMES["seconds"].items() if not n.startswith("generate")}}
    entry = report.combine(ragged, MEMORY)
    assert "step" not in entry
    assert entry["precision"] == {**precision, "trl_compact": "float32", "padded": "bfloat16"}


def test_one_case_is_written_beside_the_others(tmp_path, monkeypatch):
    asked = []

    def process(*arguments):
        asked.append(arguments)
        return TIMES if len(arguments) == 1 else {"bytes": MEMORY[arguments[1]]}

    monkeypatch.setattr(report, "_process", process)
    (tmp_path / "BENCHMARKS.md").write_text("# Benchmarks\n\nBefore.\n")
    first, second = list(CASES)[:2]
    report.bench_rollouts(first, tmp_path)
    (tmp_path / "BENCHMARKS.md").write_text((tmp_path / "BENCHMARKS.md").read_text() + "\nAfter.\n")
    ratios = report.bench_rollouts(second, tmp_path)
    assert ratios[f"{second}, update: TRL's over ours"] == 6.0
    assert asked[:2] == [(first,), (first, "ours", "float32")]
    assert list(json.loads((tmp_path / report.RESULTS).read_text())["cases"]) == [first, second]
    text = (tmp_path / "BENCHMARKS.md").read_text()
    assert text.startswith("# Benchmarks\n\nBefore.\n")
    assert text.endswith("\nAfter.\n")
    assert text.count("## Rollouts and updates") == 1
    assert f"| {second} | update | 1.00 s (f) | 6.00 s (b) | 4.00 s (f) | 6.00 (5.50) | 4.00 | 5.50 |" in text
    with pytest.raises(ValueError, match="there is no case 'x'; choose from tiny text"):
        report.bench_rollouts("x", tmp_path)


def test_bound_and_operations_by_hand():
    """(8 * 512 + 8 * 32) / (512 + 8 * 32) = 5.67. One token more: the weights of its layers twice, and its pairs."""
    case = CASES["135M, prompt 512 x 8"]
    assert case.bound(512) == pytest.approx(17 / 3)
    tiny = Case(shape="tiny", prompt=10, completion=1, group=1)
    policy, _ = build(tiny, "float32")
    weights = 4 * (4 * 256**2 + 3 * 256 * 1024 + 2 * 256) + 256
    pairs = 10**2 / 2 * 4 * 4 * 256
    assert operations(policy, tiny, 10) == pytest.approx(2 * weights * 10 + pairs + 2 * 8192 * 256)


def test_the_plots_are_a_png(tmp_path):
    curve = {"at": [1, 2], "ours": [0.1, 0.2], "trl": [0.3, 0.6], "padded": [0.2, 0.5]}
    draw({"group": curve, "prompt": curve, "groups": curve}, tmp_path / "pictures" / "rollouts.png")
    assert (tmp_path / "pictures" / "rollouts.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == ["rollouts.png"]
