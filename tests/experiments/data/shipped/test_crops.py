"""Every crop is found again in the image by its pixels alone, and its boxes are recounted in the mask there."""

import hashlib
import io
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from groundrl.experiments.data.shipped import crops
from groundrl.experiments.data.shipped.crops import NucleiCrops, crop_cycle, crop_positions

FOLDER = Path(crops.__file__).parent / "nuclei"
PICTURE = np.asarray(Image.open(FOLDER / "image.png")).astype(np.int64)
MASK = np.asarray(Image.open(FOLDER / "mask.png")).astype(np.int64)
SIZE = 64
PLACES = 512 - SIZE + 1  # along each side
SPECTRUM = np.fft.rfft2(PICTURE)
WINDOW_SQUARES = np.lib.stride_tricks.sliding_window_view(
    np.lib.stride_tricks.sliding_window_view(PICTURE**2, SIZE, axis=0).sum(axis=-1), SIZE, axis=1
).sum(axis=-1)


def pixels(example):
    return np.asarray(Image.open(io.BytesIO(example.images[0].source))).astype(np.int64)


def find(crop):
    """The only `(x, y)` at which the image shows exactly this crop."""
    fits = np.ones((PLACES, PLACES), dtype=bool)
    for y, x in [(0, 0), (0, 63), (63, 0), (63, 63), (31, 31), (17, 40), (40, 17)]:
        fits &= PICTURE[y : y + PLACES, x : x + PLACES] == crop[y, x]
    found = [(x, y) for y, x in np.argwhere(fits) if (PICTURE[y : y + SIZE, x : x + SIZE] == crop).all()]
    assert len(found) == 1
    return found[0]


def find_by_shape(crop):
    """`(x, y)` of the window most like the crop up to a factor, by correlation, and how like it is (at most 1)."""
    product = np.fft.irfft2(SPECTRUM * np.conj(np.fft.rfft2(crop, s=PICTURE.shape)), s=PICTURE.shape)
    likeness = product[:PLACES, :PLACES] / np.sqrt(WINDOW_SQUARES * (crop**2).sum())
    y, x = np.unravel_index(np.argmax(likeness), likeness.shape)
    return int(x), int(y), float(likeness[y, x])


def recount(mask):
    """The boxes of the nuclei of which at least half is in a cut-out of the mask."""
    boxes = []
    for nucleus in range(1, MASK.max() + 1):
        here = mask == nucleus
        if here.any() and 2 * here.sum() >= (nucleus == MASK).sum():
            columns, rows = np.flatnonzero(here.any(axis=0)), np.flatnonzero(here.any(axis=1))
            boxes.append([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
    return sorted(boxes)


@pytest.fixture(scope="module")
def located():
    """The 256 test examples and where each lies."""
    source = NucleiCrops("test")
    return [(source[i], *find(pixels(source[i]))) for i in range(len(source))]


def test_there_are_256_different_test_crops_balanced_over_the_counts(located):
    assert len({(x, y) for _, x, y in located}) == 256
    assert Counter(len(example.reference.boxes) for example, _, _ in located) == {0: 52, 1: 51, 2: 51, 3: 51, 4: 51}


def test_the_boxes_of_test_crops_are_those_of_the_mask(located):
    for example, x, y in located[:60]:
        assert sorted(example.reference.boxes.xyxy.tolist()) == recount(MASK[y : y + SIZE, x : x + SIZE])
        assert (example.reference.boxes.space.width, example.reference.boxes.space.height) == (64, 64)


def test_test_crops_lie_in_the_test_columns_and_blocks_share_no_pixel(located):
    owner = np.full((512, 512), -1)
    blocks = sorted({example.block for example, _, _ in located})
    assert len(blocks) == 8
    for example, x, y in located:
        assert x >= 340
        assert x + SIZE <= 512
        window = owner[y : y + SIZE, x : x + SIZE]
        assert np.isin(window, [-1, blocks.index(example.block)]).all()
        window[:] = blocks.index(example.block)


def test_no_test_crop_comes_twice_while_one_is_left():
    for count in range(5):
        assert sorted(crop_cycle(count, seed=5)) == sorted(crop_positions("test")[count])
    assert crop_cycle(2, seed=5) != crop_cycle(2, seed=6)


def orientations(crop):
    """The crop turned and flipped back in each of the eight ways, with the way."""
    for turns in range(4):
        for flip in (False, True):
            back = np.rot90(crop, -turns)
            yield (back[:, ::-1] if flip else back), turns, flip


def test_train_crops_are_moved_together_with_their_boxes():
    source, ways = NucleiCrops("train", seed=1), set()
    for index in range(8):
        example = source[index]
        crop = pixels(example)
        found = [(find_by_shape(back), back, turns, flip) for back, turns, flip in orientations(crop)]
        (x, y, likeness), back, turns, flip = max(found, key=lambda each: each[0][2])
        assert likeness > 0.998
        assert x + SIZE <= 340
        window, mask = PICTURE[y : y + SIZE, x : x + SIZE], MASK[y : y + SIZE, x : x + SIZE]
        # One gain within 0.7 and 1.4 explains every pixel: value = rint(gain * intensity), at most 255.
        clear = (back < 255) & (window > 0)
        low = ((back - 0.5) / np.maximum(window, 1))[clear].max()
        high = ((back + 0.5) / np.maximum(window, 1))[clear].min()
        assert low <= high
        assert high >= 0.7
        assert low <= 1.4
        moved = np.rot90(mask[:, ::-1] if flip else mask, turns)
        assert sorted(example.reference.boxes.xyxy.tolist()) == recount(moved)
        assert len(example.reference.boxes) == index % 5
        ways.add((turns, flip))
    assert len(ways) > 3


def test_no_train_crop_can_reach_a_test_pixel(monkeypatch):
    positions = [index for count in crop_positions("train") for index in count]
    assert len(positions) > 10_000
    assert max(x for x, _, _ in positions) + SIZE <= 340
    before = [NucleiCrops("train", seed=2)[i].images for i in range(50)]
    scrambled = PICTURE.astype(np.uint8).copy()
    scrambled[:, 340:] = 255 - scrambled[:, 340:]
    monkeypatch.setattr(crops, "load_image", lambda: (scrambled, MASK))
    assert [NucleiCrops("train", seed=2)[i].images for i in range(50)] == before
    assert NucleiCrops("test")[0].images != before[0]


def test_crops_depend_on_seed_and_index_alone():
    def pictures(seed, order):
        source = NucleiCrops("train", seed=seed)
        return {i: source[i].images[0].source for i in order}

    assert pictures(0, range(10)) == pictures(0, reversed(range(10)))
    assert set(pictures(0, range(10)).values()).isdisjoint(pictures(1, range(10)).values())
    assert NucleiCrops("train")[4].id == "nuclei/train/0/4"
    with pytest.raises(IndexError):
        NucleiCrops("test")[256]


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        ("train", "e5445d79baccc313d9a55b33bb2337142cad242e8b7577709262567073c2e0c6"),
        ("test", "12f56724aa8b0f9e8d94de4a9f40f7407a96d607c780a4fe065c6a67074202c6"),
    ],
)
def test_the_first_crops_stay_what_they_are(split, expected):
    digest = hashlib.sha256()
    for index in range(10):
        example = NucleiCrops(split)[index]
        for part in (pixels(example).astype(np.uint8).tobytes(), example.reference.boxes.xyxy.tobytes()):
            digest.update(part)
        digest.update(example.answer.encode() + example.id.encode())
    assert digest.hexdigest() == expected
