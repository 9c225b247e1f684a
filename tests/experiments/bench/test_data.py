"""The benchmark of data on a small file: what it writes, and that its order is that of a stage."""

import json

from groundrl.experiments.bench.data import END, START, bench_data, measure, write_samples
from groundrl.experiments.data import JsonlSource


def test_samples_are_examples_and_the_order_depends_on_them_alone(tmp_path):
    path = tmp_path / "s.jsonl"
    write_samples(path, 50)
    source = JsonlSource(path)
    assert [source[k].id for k in range(50)] == [f"s{k}" for k in range(50)]
    assert source[1].reference.label == "B"
    first = measure(path)["order"]
    assert measure(path)["order"] == first
    write_samples(path, 49)
    assert measure(path)["order"] != first


def test_results_and_their_section_are_written(tmp_path):
    (tmp_path / "BENCHMARKS.md").write_text(f"# Benchmarks\n\nbefore\n\n{START}\nold\n{END}\n\nafter\n")
    (tmp_path / "evidence/results").mkdir(parents=True)
    found = bench_data(tmp_path, samples=200)
    assert found == json.loads((tmp_path / "evidence/results/data.json").read_text())
    assert found["same_order"] == 1.0
    text = (tmp_path / "BENCHMARKS.md").read_text()
    assert text.index("before") < text.index(START) < text.index(END) < text.index("after")
    assert "old" not in text
    assert "a JSONL of 200 text samples" in text.replace("\n", " ")
