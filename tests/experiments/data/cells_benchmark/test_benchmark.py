"""A benchmark of the shipped nuclei, recounted in the picture and mask; and of hand-made pictures with classes."""

import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

import groundrl.experiments.data.cells_benchmark.benchmark as cell_benchmark
from groundrl.experiments.cli.data_cells import parse_classes
from groundrl.experiments.data import JsonlSource
from groundrl.experiments.data.cells_benchmark.benchmark import build_cells
from groundrl.experiments.data.cells_benchmark.sample import CellSettings, open_eight_bit
from groundrl.experiments.data.formats.mask_source import MaskReading
from groundrl.experiments.data.shipped import crops
from groundrl.rewards import Completion, LabelAccuracy, SoftF1

NUCLEI = Path(crops.__file__).parent / "nuclei"
SETTINGS = {"size": 64, "crops": 60, "split": "region", "answer": "{count} nuclei <box>{boxes}</box>"}


def files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def nuclei(out, **settings):
    paths = (NUCLEI / "image.png", NUCLEI / "mask.png", out)
    return build_cells(*paths, reading=MaskReading(name="nucleus"), settings=CellSettings(**SETTINGS | settings))


@pytest.fixture
def plain(monkeypatch):
    """Without the histograms, which take longer than the rest."""
    monkeypatch.setattr(cell_benchmark, "histograms", lambda benchmark: Figure())


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    out = tmp_path_factory.mktemp("cells") / "bench"
    nuclei(out)
    return out


@pytest.fixture(scope="module")
def splits(built):
    """Of each split, the examples with where each was cut out."""
    sources = {split: JsonlSource(built / f"{split}.jsonl") for split in ("train", "test")}
    return {split: [(e, *e.reference["at"]) for e in source] for split, source in sources.items()}


def test_the_crops_are_those_of_the_picture_and_the_boxes_those_of_the_mask(splits):
    picture, mask = crops.load_image()
    for example, x, y in splits["train"] + splits["test"]:
        part = mask[y : y + 64, x : x + 64]
        assert (np.asarray(Image.open(example.images[0].source)) == picture[y : y + 64, x : x + 64]).all()
        expected = []
        for nucleus in np.unique(part[part > 0]):
            here = part == nucleus
            if 2 * here.sum() >= (mask == nucleus).sum():
                columns, rows = np.flatnonzero(here.any(axis=0)), np.flatnonzero(here.any(axis=1))
                expected.append([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
        assert sorted(example.reference.boxes.xyxy.tolist()) == sorted(expected)
        assert example.reference["count"] == len(expected)
        assert example.reference["density"] == pytest.approx((part > 0).mean(), abs=1e-4)


def test_the_gold_answer_satisfies_its_rewards(splits):
    for example, _, _ in splits["test"]:
        gold = Completion(text=example.answer)
        assert SoftF1().score(gold, example).value > 0.97
        assert LabelAccuracy().score(gold, example).value == 1


def test_no_pixel_and_no_block_is_in_both_splits(splits):
    seen = {split: np.zeros((512, 512), dtype=bool) for split in splits}
    for split, examples in splits.items():
        for _, x, y in examples:
            seen[split][y : y + 64, x : x + 64] = True
    assert seen["train"].any()
    assert seen["test"].any()
    assert not (seen["train"] & seen["test"]).any()
    blocks = {split: {example.block for example, _, _ in examples} for split, examples in splits.items()}
    assert not blocks["train"] & blocks["test"]
    assert len(blocks["test"]) > 1


def test_sizes_are_as_asked_with_negatives(splits):
    assert {split: len(examples) for split, examples in splits.items()} == {"train": 45, "test": 15}
    # A tenth of 45 and of 15, rounded to the even number: 4 and 2.
    empty = {split: sum(len(e.reference.boxes) == 0 for e, _, _ in own) for split, own in splits.items()}
    assert empty == {"train": 4, "test": 2}
    negative = next(e for e, _, _ in splits["train"] if not len(e.reference.boxes))
    assert (negative.answer, negative.reference["size"]) == ("0 nuclei <box>[]</box>", None)
    assert (negative.reference["task"], negative.reference["dataset"]) == ("grounding", "bench")


def test_the_card_counts_what_is_in_the_files(built, splits):
    card = (built / "README.md").read_text()
    for split, examples in splits.items():
        boxes = sum(len(e.reference.boxes) for e, _, _ in examples)
        assert f"| {split} | {len(examples)} | {4 if split == 'train' else 2} | {boxes} | " in card
        tally = Counter(item for e, _, _ in examples for item in e.reference["stratum"].items())
        column = {"train": 4, "test": 5}[split]
        rows = [
            [cell.strip() for cell in line.split("|")]
            for line in card.splitlines()
            if re.match(r"\| (size|count) ", line)
        ]
        for row in rows:
            assert int(row[column]) == tally[row[1], row[2]]
        assert len(rows) >= 6
    assert "125 objects in their masks (125 nucleus)" in card
    assert Image.open(built / "histograms.png").width > 1000


def test_the_same_seed_gives_the_same_bytes_and_another_one_another_benchmark(built, tmp_path, monkeypatch):
    nuclei(tmp_path / "bench")
    assert files(tmp_path / "bench") == files(built)
    monkeypatch.setattr(cell_benchmark, "histograms", lambda benchmark: Figure())
    nuclei(tmp_path / "other", seed=1)
    assert (tmp_path / "other" / "test.jsonl").read_bytes() != (built / "test.jsonl").read_bytes()


def test_nothing_is_overwritten_and_nothing_half_written(tmp_path, monkeypatch, plain):
    small = {"size": 128, "crops": 8}
    (tmp_path / "taken").mkdir()
    with pytest.raises(ValueError, match="taken exists; choose another --out, or replace it with --overwrite"):
        nuclei(tmp_path / "taken")
    arguments = {"reading": MaskReading(name="nucleus"), "settings": CellSettings(**SETTINGS | small)}
    paths = (NUCLEI / "image.png", NUCLEI / "mask.png")
    with pytest.raises(ValueError, match="taken exists and is no benchmark of cells; it is not overwritten"):
        build_cells(*paths, tmp_path / "taken", overwrite=True, **arguments)
    build_cells(*paths, tmp_path / "out", **arguments)
    before = files(tmp_path / "out")

    def fail(*args, **kwargs):
        raise OSError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr(cell_benchmark, "histograms", fail)
        for name in ("out", "fresh"):
            with pytest.raises(OSError, match="disk full"):
                build_cells(*paths, tmp_path / name, overwrite=True, **arguments)
    assert files(tmp_path / "out") == before
    assert not (tmp_path / "fresh").exists()
    changed = arguments | {"settings": CellSettings(**SETTINGS | small | {"prompt": "Find them."})}
    build_cells(*paths, tmp_path / "out", overwrite=True, **changed)
    assert JsonlSource(tmp_path / "out" / "test.jsonl")[0].prompt == "Find them."
    assert sorted(path.name for path in tmp_path.iterdir()) == [".fresh.partial", "out", "taken"]


@pytest.fixture
def drawn(tmp_path):
    """Four 16-bit pictures of 40 x 40 with class masks: cells (1), rods (2) and a border (9) that is no object."""
    for name in ("pictures", "masks"):
        (tmp_path / name).mkdir()
    for number in range(4):
        mask = np.zeros((40, 40), dtype=np.uint8)
        mask[4:12, 4 : 10 + number] = 1
        mask[11, 4:10] = 9
        mask[30:32, 20:36] = 2
        mask[3, 38] = 1  # too small
        picture = np.random.default_rng(number).integers(500, 5000, (40, 40)).astype(np.uint16)
        Image.fromarray(picture).save(tmp_path / "pictures" / f"p{number}.tif")
        Image.fromarray(mask).save(tmp_path / "masks" / f"p{number}.png")
    return tmp_path


CLASSES = {"reading": MaskReading(classes={1: "cell", 2: "rod", 9: ""}, min_area=2)}


def test_whole_pictures_of_class_masks(drawn, plain):
    settings = CellSettings(size=20, crops=30, test_share=0.5, negatives=0.2)
    made = build_cells(drawn / "pictures", drawn / "masks", drawn / "out", settings=settings, **CLASSES)
    assert dict(made.classes) == {"cell": 4, "rod": 4}
    sources = {split: JsonlSource(drawn / "out" / f"{split}.jsonl") for split in ("train", "test")}
    pictures = {split: {e.block for e in source} for split, source in sources.items()}
    assert {len(found) for found in pictures.values()} == {2}
    assert not pictures["train"] & pictures["test"]
    corner = next(e for source in sources.values() for e in source if e.id.endswith("/0-0"))
    number = int(corner.block[1])
    # Rows 4 to 10 (row 11 is the border for columns 4 to 9, and a cell's beyond), columns 4 to 9 + number.
    bottom = 11 if number == 0 else 12
    assert corner.reference.boxes.xyxy.tolist() == [[4, 4, 10 + number, bottom]]
    assert (corner.reference.boxes.labels, corner.reference.label) == (("cell",), "1 cell")
    image = np.asarray(Image.open(corner.images[0].source))
    assert (image.dtype, image.min() < 10, image.max() > 245) == (np.uint8, True, True)
    card = (drawn / "out" / "README.md").read_text()
    assert "4 pictures" in card
    assert "30 crops were asked for" in card  # there are 9 candidates a picture, a few of one kind


def test_the_same_picture_twice_is_a_leak(drawn):
    twin = drawn / "pictures" / "p3.tif"
    twin.write_bytes((drawn / "pictures" / "p1.tif").read_bytes())
    with pytest.raises(ValueError, match=r"p1.tif and .*p3.tif show the same picture, which could be in both splits"):
        build_cells(drawn / "pictures", drawn / "masks", drawn / "out", settings=CellSettings(size=20), **CLASSES)
    assert not (drawn / "out").exists()


def test_objects_in_pieces_are_named_on_the_card(drawn, plain):
    # As an instance mask, value 1 has two pieces (the cell and the pixel in the corner), 2 and 9 one.
    reading = MaskReading(name="cell")
    build_cells(drawn / "pictures", drawn / "masks", drawn / "out", reading=reading, settings=CellSettings(size=20))
    assert "- 4 of the 12 objects are in more than one connected piece." in (drawn / "out" / "README.md").read_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 4}, "`size` is at least 8 pixels, got 4"),
        ({"crops": 1}, "`crops` is at least 2"),
        ({"test_share": 1.0}, "`test_share` is between 0 and 1, got 1.0"),
        ({"negatives": 1.0}, "`negatives` is at least 0 and below 1"),
        ({"seed": -1}, "`seed` is at least 0"),
        ({"answer": "{cout}"}, "unknown field"),
    ],
)
def test_settings_out_of_bounds_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        CellSettings(**change)


def test_a_picture_becomes_eight_bits(tmp_path):
    values = np.array([[0, 1000], [2000, 4000]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    # The 0.1 and 99.9 percentile lie a thousandth of the way in: 3 and 3994, so 1000 is 255 * 997 / 3991 = 63.7.
    assert np.asarray(open_eight_bit(tmp_path / "a.png")).tolist() == [[0, 64], [128, 255]]
    Image.fromarray(values.astype(np.uint8), mode="L").convert("P").save(tmp_path / "b.png")
    assert open_eight_bit(tmp_path / "b.png").mode == "RGB"
    pages = [Image.new("L", (4, 4), k) for k in range(2)]
    pages[0].save(tmp_path / "c.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(ValueError, match=r"c.tif holds 2 frames; save each as a file"):
        open_eight_bit(tmp_path / "c.tif")
    (tmp_path / "d.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"the picture .*d.png cannot be read"):
        open_eight_bit(tmp_path / "d.png")


def test_classes_on_the_command_line():
    assert parse_classes("1=erythrocyte, 0xff0000=a b,3=") == {1: "erythrocyte", 0xFF0000: "a b", 3: ""}
    for text in ("1", "a=b", "1=a,1=b", "-1=a", ""):
        with pytest.raises(ValueError, match="--classes gives each value one name, such as 1=cell,2=rod; got"):
            parse_classes(text)


def test_the_command_writes_a_benchmark_that_a_configuration_takes(tmp_path, plain):
    from typer.testing import CliRunner

    from groundrl.experiments.cli.main import app

    out = tmp_path / "bench"
    command = ["data", "cells", str(NUCLEI / "image.png"), str(NUCLEI / "mask.png"), "--out", str(out)]
    command += ["--name", "nucleus", "--size", "128", "--crops", "8", "--split", "region"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    # A tenth of 6 is one negative, and no crop of 128 pixels is without a nucleus.
    assert "5 train and 2 test crops\n8 were asked for: there are too few candidates" in done.output
    assert json.loads((out / "benchmark.json").read_text())["settings"]["size"] == 128
    from groundrl.experiments.data import load_source

    assert load_source("bench/test.jsonl", seed=0, base=tmp_path)[0].images[0].width == 128
