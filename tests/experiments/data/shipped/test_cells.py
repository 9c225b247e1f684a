"""Rendered scenes against their own instance mask, and their pixels against what the embedded base was trained on."""

import hashlib
import io
import pickle

import numpy as np
import pytest
from PIL import Image

from groundrl.experiments.data.shipped.cells import COUNTS, MARGIN, SIZE, RenderedCells, _place

INNER = slice(MARGIN, MARGIN + SIZE)


def pixels(example):
    return np.asarray(Image.open(io.BytesIO(example.images[0].source)))


def scene_mask(seed, index):
    """The instance mask from which scene `index` is lit."""
    rng = np.random.Generator(np.random.Philox(key=[seed, index]))
    return _place(rng, index % COUNTS)[0]


def test_the_renderer_still_draws_what_the_embedded_base_was_trained_on():
    digest = hashlib.sha256()
    source = RenderedCells(seed=0)
    for index in range(10):
        example = source[index]
        for part in (pixels(example).tobytes(), example.reference.boxes.xyxy.tobytes()):
            digest.update(part)
        digest.update(example.answer.encode() + example.id.encode())
    assert digest.hexdigest() == "305018f3a56a16c6987cd437e5f204df68bbfbc213db7e69f5241e5617a06bde"


def test_a_scene_depends_on_seed_and_index_alone():
    source, again = RenderedCells(seed=3), pickle.loads(pickle.dumps(RenderedCells(seed=3)))
    forwards = [source[i] for i in range(6)]
    backwards = [again[i] for i in reversed(range(6))][::-1]
    for one, two in zip(forwards, backwards, strict=True):
        assert one.images == two.images
        assert (one.id, one.answer, one.block) == (two.id, two.answer, two.block)
    other = [RenderedCells(seed=4)[i] for i in range(6)]
    assert not {e.images[0].source for e in forwards} & {e.images[0].source for e in other}
    assert len({e.images[0].source for e in forwards}) == 6


def test_boxes_are_tight_around_the_visible_part_of_each_counted_cell():
    for index in range(40):
        example, canvas = RenderedCells(seed=7)[index], scene_mask(7, index)
        mask = canvas[INNER, INNER]
        expected = []
        for cell in range(1, canvas.max() + 1):
            if 2 * (mask == cell).sum() >= (canvas == cell).sum():
                columns, rows = np.flatnonzero((mask == cell).any(axis=0)), np.flatnonzero((mask == cell).any(axis=1))
                expected.append([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
        assert len(expected) == index % 5
        assert sorted(example.reference.boxes.xyxy.tolist()) == sorted(expected)
        assert example.reference.label == f"{index % 5} {'nucleus' if index % 5 == 1 else 'nuclei'}"


def test_the_light_falls_where_the_mask_is():
    def contrast(shift):
        differences = []
        for index in [i for i in range(30) if i % 5]:
            canvas, picture = scene_mask(7, index), pixels(RenderedCells(seed=7)[index])
            cells = canvas[MARGIN + shift : MARGIN + SIZE + shift, INNER] > 0
            differences.append(picture[cells].mean() - picture[~cells].mean())
        return np.mean(differences)

    assert contrast(0) > 20
    assert contrast(0) > contrast(-4) + 5
    assert contrast(0) > contrast(4) + 5


def test_an_index_beyond_the_length_is_refused():
    with pytest.raises(IndexError):
        RenderedCells(length=3)[3]
    with pytest.raises(IndexError):
        RenderedCells(length=3)[-1]
