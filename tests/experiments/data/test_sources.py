import json

import pytest

from groundrl.experiments.data import CocoSource, JsonlSource, NucleiCrops, RenderedCells, load_source


@pytest.mark.slow
def test_shipped_sources_take_the_seed_except_for_the_test_crops(tmp_path):
    def first(name, seed):
        return load_source(name, seed=seed, base=tmp_path)[0]

    assert first("cells/rendered", 1).id == "cells/rendered/1/0"
    assert first("nuclei/train", 1).id == "nuclei/train/1/0"
    assert first("nuclei/test", 1).images == first("nuclei/test", 0).images
    assert first("cells/rendered", 0).images != first("cells/rendered", 1).images
    assert first("nuclei/train", 0).images != first("nuclei/train", 1).images
    assert isinstance(load_source("cells/rendered", seed=0, base=tmp_path), RenderedCells)
    assert isinstance(load_source("nuclei/train", seed=0, base=tmp_path), NucleiCrops)
    assert len(load_source("nuclei/test", seed=0, base=tmp_path)) == 256


def test_paths_are_relative_to_the_base(jsonl, tmp_path, monkeypatch):
    jsonl({"prompt": "hello"})
    monkeypatch.chdir("/")
    for spec in ("data.jsonl", {"jsonl": "data.jsonl"}, str(tmp_path / "data.jsonl")):
        source = load_source(spec, seed=0, base=tmp_path)
        assert isinstance(source, JsonlSource)
        assert source[0].prompt == "hello"


def test_a_coco_mapping_is_read_with_its_own_or_the_default_template(picture, tmp_path):
    picture("pictures/a.png")
    file = {"images": [{"id": 1, "file_name": "a.png"}], "annotations": [], "categories": [{"id": 1, "name": "cell"}]}
    (tmp_path / "c.json").write_text(json.dumps(file))
    spec = {"coco": "c.json", "images": "pictures", "prompt": "Find them."}
    source = load_source(spec, seed=0, base=tmp_path)
    assert isinstance(source, CocoSource)
    assert (source[0].prompt, source[0].answer) == ("Find them.", "0 cell <box>[]</box>")
    assert load_source(spec | {"answer": "{count}"}, seed=0, base=tmp_path)[0].answer == "0"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nuclei/tets", "there is no data 'nuclei/tets'; did you mean 'nuclei/test'.* ends in .jsonl"),
        ("mnist", "there is no data 'mnist'; known: cells/rendered, cells/report, nuclei/report/test"),
        ("a.json", r"'a.json' is not .jsonl; a COCO file is given as \{coco: a.json, images"),
        ("a.jsonl", "there is no file .*a.jsonl"),
        ({"jsnol": "a.jsonl"}, "unknown key in `data`: 'jsnol'; did you mean 'jsonl'"),
        ({"coco": "c.json", "image": "x", "prompt": "?"}, "unknown key in `data`: 'image'; did you mean 'images'"),
        ({"coco": "c.json", "prompt": "?"}, "`data` needs `read` and `path`, or .* `prompt`; it has no images"),
        ({}, "it has no coco, images, prompt"),
        ({"jsonl": "a.jsonl", "prompt": "?"}, "`jsonl` in `data` stands alone, got also prompt"),
        ({"jsonl": ["a.jsonl"]}, r"`jsonl` in `data` is text, got \['a.jsonl'\]"),
        ({"coco": "c.json", "images": "x", "prompt": "?"}, "there is no folder .*x, which `images` in `data` names"),
    ],
)
def test_what_is_not_known_is_refused_with_the_nearest_name(spec, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        load_source(spec, seed=0, base=tmp_path)
