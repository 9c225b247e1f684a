"""Regions, crops and strata on pictures small enough to measure by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundrl.experiments.data.cells_benchmark.crops import (
    Crop,
    Region,
    axis_ratios,
    crops_of,
    find_regions,
    split_regions,
)
from groundrl.experiments.data.cells_benchmark.strata import Strata, count_range, cut_strata, draw
from groundrl.experiments.data.formats.masks import value_instances


def rectangle(height, width, *placed):
    """A mask with objects 1, 2, ... at `(top, left, height, width)`."""
    mask = np.zeros((height, width), dtype=np.int64)
    for number, (y, x, high, wide) in enumerate(placed, start=1):
        mask[y : y + high, x : x + wide] = number
    return mask


def crop(count=1, size=1.0, shape=1.0, density=0.5, x=0):
    region = Region(picture=0, name="a", left=0, top=0, right=9, bottom=9)
    return Crop(region=region, x=x, y=0, shown=tuple(range(count)), size=size, shape=shape, density=density)


def test_the_axis_ratio_of_a_rectangle_is_that_of_its_sides():
    ratios = axis_ratios(rectangle(20, 30, (0, 0, 2, 6), (5, 5, 12, 3), (0, 20, 5, 5), (19, 29, 1, 1)), 4)
    assert np.isnan(ratios[0])
    assert ratios[1:].tolist() == pytest.approx([1 / 3, 1 / 4, 1, 1])


def test_the_axis_ratio_does_not_depend_on_the_direction():
    # Three pixels on a diagonal: along it the positions are -s, 0, s with s = sqrt(2), a variance of 4/3, across it 0.
    mask = np.eye(3, dtype=np.int64)
    expected = np.sqrt((1 / 12) / (4 / 3 + 1 / 12))
    assert axis_ratios(mask, 1)[1] == pytest.approx(expected)
    assert axis_ratios(mask[:, ::-1].copy(), 1)[1] == pytest.approx(expected)
    far = np.zeros((4000, 3), dtype=np.int64)
    far[-3:] = mask
    assert axis_ratios(far, 1)[1] == pytest.approx(expected, rel=1e-9)


def test_what_a_crop_shows_is_measured_on_whole_objects():
    # One object of 4 x 4 that the crop's right border halves, one of 2 x 8 inside, one of which a quarter is inside.
    mask = rectangle(16, 32, (0, 14, 4, 4), (8, 2, 2, 8), (12, 15, 2, 4))
    objects = value_instances(mask, name="cell")
    region = find_regions(0, "a", (32, 16), by="image", size=16)[0]
    crops = list(crops_of(region, objects, axis_ratios(objects.labels, 3), size=16))
    assert [(each.x, each.y) for each in crops] == [(0, 0), (8, 0), (16, 0)]
    first = crops[0]
    assert first.shown == (1, 2)
    # Diameters 2 sqrt(A / pi) of A = 16 and 16; axis ratios 1 and 1/4.
    assert first.size == pytest.approx(2 * np.sqrt(16 / np.pi))
    assert first.shape == pytest.approx((1 + 0.25) / 2)
    assert first.density == (2 * 4 + 16 + 2) / 256
    assert crops[2].shown == (1, 3)
    empty = next(crops_of(region, value_instances(mask * 0, name="cell"), np.full(1, np.nan), size=16))
    assert (empty.count, empty.density) == (0, 0)
    assert np.isnan(empty.size)
    assert np.isnan(empty.shape)


def test_regions_are_at_least_two_crops_wide_and_cover_the_picture():
    found = find_regions(3, "a", (50, 20), by="region", size=10)
    assert [(r.name, r.left, r.top, r.right, r.bottom) for r in found] == [
        ("a-0-0", 0, 0, 25, 20),
        ("a-1-0", 25, 0, 50, 20),
    ]
    assert {r.picture for r in found} == {3}
    (whole,) = find_regions(0, "a", (50, 20), by="image", size=10)
    assert (whole.name, whole.right, whole.bottom) == ("a", 50, 20)
    with pytest.raises(ValueError, match="the picture a is 50 x 20, smaller than a crop of 21"):
        find_regions(0, "a", (50, 20), by="image", size=21)


@settings(max_examples=25)
@given(st.integers(8, 40), st.integers(8, 40), st.integers(2, 8))
def test_no_pixel_is_in_crops_of_two_regions(width, height, size):
    objects = value_instances(np.zeros((height, width), dtype=np.int64), name="cell")
    owner = np.full((height, width), -1)
    for number, region in enumerate(find_regions(0, "a", (width, height), by="region", size=size)):
        for each in crops_of(region, objects, np.full(1, np.nan), size=size):
            part = owner[each.y : each.y + size, each.x : each.x + size]
            assert part.shape == (size, size)
            assert np.isin(part, (-1, number)).all()
            part[:] = number
    assert (owner >= 0).all()  # and every pixel is in some crop


@settings(max_examples=25)
@given(st.integers(2, 30), st.floats(0.01, 0.99), st.integers(0, 3))
def test_every_region_is_in_one_split_and_each_split_has_one(count, share, seed):
    regions = find_regions(0, "a", (20 * count, 20), by="region", size=10)
    split = split_regions(regions, test_share=share, seed=seed, by="region")
    assert sorted(split["train"] + split["test"], key=regions.index) == regions
    assert len(split["test"]) == min(max(1, round(share * count)), count - 1)


def test_the_split_depends_on_the_seed():
    regions = find_regions(0, "a", (400, 20), by="region", size=10)
    drawn = [split_regions(regions, test_share=0.5, seed=seed, by="region")["test"] for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    with pytest.raises(ValueError, match=r"there is a single image, .* both train and test; split by region"):
        split_regions(regions[:1], test_share=0.5, seed=0, by="image")


def test_strata_are_thirds_of_each_measure_and_doublings_of_the_count():
    # Thirds of 0..6: linear quantiles at 2 and 4. A value on an edge is above it.
    crops = [crop(size=float(k), shape=k / 10, density=k / 100) for k in range(7)]
    strata = cut_strata([*crops, crop(count=0, size=np.nan, shape=np.nan, density=0.9)])
    assert strata.edges["size"] == (2, 4)
    assert strata.edges["density"] == pytest.approx((0.02, 0.04))
    assert [strata.of(each)[1] for each in crops] == [0, 0, 1, 1, 2, 2, 2]
    assert [strata.of(crop(count=n, size=5.0))[0] for n in (1, 2, 3, 4, 7, 8)] == [1, 2, 2, 3, 3, 4]
    assert strata.of(crop(count=0, size=np.nan, shape=np.nan)) == (0, 0, 0, 0)
    assert [count_range(bin) for bin in range(5)] == ["0", "1", "2-3", "4-7", "8-15"]
    words = {"count": "4-7", "size": "large", "shape": "round", "density": "dense"}
    assert strata.words(crop(count=5, size=9.0, shape=0.9)) == words
    assert strata.words(crop(count=0)) == {"count": "0"}
    with pytest.raises(ValueError, match="no crop shows an object"):
        cut_strata([crop(count=0)])


STRATA = Strata(edges={"size": (2.0, 4.0), "shape": (0.3, 0.6), "density": (0.1, 0.2)})


def test_rare_strata_are_drawn_as_often_as_common_ones_while_they_last():
    common, rare = [crop(size=1.0) for _ in range(90)], [crop(size=9.0) for _ in range(6)]
    empty = [crop(count=0) for _ in range(50)]
    drawn = draw([*common, *rare, *empty], STRATA, count=10, negatives=0.2, seed=(0, 1))
    assert sorted((each.count, each.size) for each in drawn) == [(0, 1)] * 2 + [(1, 1)] * 4 + [(1, 9)] * 4
    more = draw([*common, *rare, *empty], STRATA, count=40, negatives=0.2, seed=(0, 1))
    assert sum(each.size == 9 for each in more) == 6
    assert len(more) == 40


def test_what_runs_out_is_not_filled_up_with_another_kind():
    drawn = draw([crop(count=0), *[crop() for _ in range(50)]], STRATA, count=20, negatives=0.5, seed=(0, 1))
    assert [each.count for each in drawn] == [0] + [1] * 10
    assert len(draw([crop(), crop(count=0)], STRATA, count=20, negatives=0.0, seed=(0, 1))) == 1


def test_a_draw_depends_on_its_seed_alone_and_keeps_the_order():
    crops = [crop(size=float(k % 5), x=k) for k in range(60)]
    first, again, other = (draw(crops, STRATA, count=20, negatives=0.0, seed=seed) for seed in ((0, 1), (0, 1), (1, 1)))
    assert first == again != other
    assert [each.x for each in first] == sorted({each.x for each in first})
