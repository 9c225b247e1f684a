"""What stands in the page, without a browser."""

import json
import sys

import pytest
from PIL import Image

from groundrl.experiments.analysis import open_log
from groundrl.experiments.analysis.page.build import as_script_data
from groundrl.experiments.analysis.page.content import page_content
from groundrl.experiments.analysis.page.pictures import Pictures
from groundrl.experiments.analysis.page.token_spans import TokenSpans
from groundrl.experiments.bench.tiny_model import build_tokenizer
from groundrl.experiments.cli import main as cli
from groundrl.rewards import Example, ImageRef


def test_a_page_that_would_be_too_large_keeps_whole_groups_evenly_spaced(tmp_path):
    rows = [
        {"prompt": f"q{step}", "completion": "x" * 1000, "step": step, "reward": float(k)}
        for step in range(20)
        for k in range(4)
    ]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    log = open_log(tmp_path / "log.jsonl")
    assert page_content(log)["notes"] == []
    content = page_content(log, limit=30_000)
    assert len(as_script_data(content["groups"])) <= 30_000
    steps = [group["step"] for group in content["groups"]]
    assert steps == list(range(0, 20, steps[1] - steps[0]))
    assert all(len(group["rows"]) == 4 for group in content["groups"])
    assert content["notes"] == [f"This page shows {len(steps)} of 20 groups, evenly spaced: all would exceed 50 MB."]
    assert set(content["examples"]) == {group["example"] for group in content["groups"]}


def test_thumbnails_are_at_most_384_pixels(image, tmp_path):
    pictures = Pictures()
    (name,) = pictures.names(Example(id="a", prompt="p", images=(image(0, 900, 300),)))
    kind, _, data = pictures.data[name].partition(";base64,")
    import base64
    import io

    assert kind == "data:image/jpeg"
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (384, 128)
    small = ImageRef(source=image(1, 40, 30).source, width=40, height=30)
    assert pictures.data[pictures.names(Example(id="b", prompt="p", images=(small,)))[0]].startswith("data:image/png")


@pytest.mark.parametrize("text", ["3 nuclei <box>[]</box>", "na\u00efve \U0001f9a0 caf\u00e9", ""])
def test_tokens_cover_the_text(text, tmp_path):
    build_tokenizer().save_pretrained(tmp_path / "checkpoints" / "rl")
    tokenizer = build_tokenizer()
    ids = [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    lengths = TokenSpans.of_run(tmp_path).lengths({"text": text, "token_ids": ids})
    assert len(lengths) == len(ids)
    assert sum(lengths) == len(text.encode("utf-16-le")) // 2
    assert lengths[-1] == 0


def test_script_data_cannot_be_ended_by_its_texts():
    texts = {"a": "</script><!--", "b": "\u2028&", "c": "\ud800"}
    written = as_script_data(texts)
    assert not set("<>&\u2028") & set(written)
    assert json.loads(written)["a"] == texts["a"]


def test_the_command_makes_a_page(tmp_path, monkeypatch, capsys):
    (tmp_path / "log.jsonl").write_text('{"prompt": "q", "completion": "a"}\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["groundrl", "view", "log.jsonl"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    assert "open page.html in a browser" in capsys.readouterr().out
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")
