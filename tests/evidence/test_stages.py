"""What RL adds against the strength of SFT: the table, by hand, and the figure."""

from evidence.stages import draw, table


def point(real_steps, seed):
    gain = {"mean": 0.125, "ci95": [-0.0625, 0.25]}
    return {
        "real_steps": real_steps,
        "seed": seed,
        "before": {"iou_mean": 0.25, "iou_mean_greedy": 0.5},
        "gain": {"iou_mean": gain, "iou_mean_greedy": {**gain, "mean": 0.0}},
    }


def test_the_table_by_hand():
    assert table([point(0, 1), point(20, 1)]).splitlines()[2:] == [
        "| none | 1 | 0.250 | +0.125 [-0.062, +0.250] | 0.500 | +0.000 [-0.062, +0.250] |",
        "| 20 | 1 | 0.250 | +0.125 [-0.062, +0.250] | 0.500 | +0.000 [-0.062, +0.250] |",
    ]


def test_the_figure_is_a_png(tmp_path):
    draw([point(0, 0), point(20, 0), point(0, 1)], tmp_path / "pictures" / "stages.png")
    assert (tmp_path / "pictures" / "stages.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == ["stages.png"]
