"""Loggers show what metrics.jsonl holds, pictures with boxes and the hyper-parameters."""

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from groundrl.experiments.config.load import load_config
from groundrl.experiments.config.run import ConfigError
from groundrl.experiments.data import NucleiCrops
from groundrl.experiments.drawing.boxes import PREDICTED_COLOUR, TRUE_COLOUR
from groundrl.experiments.drawing.contact_sheet import captions, contact_sheet
from groundrl.experiments.recording.loggers import check_loggers, flat
from groundrl.rewards import Completion, Group, Score


def test_tensorboard_has_the_scalars_pictures_and_hyper_parameters(small_run):
    events = EventAccumulator(str(small_run.folder / "tensorboard"))
    events.Reload()
    recorded = [(row["step"], row["reward/mean"]) for row in small_run.metrics if row["stage"] == "rl"]
    scalars = events.Scalars("rl/reward/mean")
    assert [event.step for event in scalars] == [step for step, _ in recorded]
    assert [event.value for event in scalars] == pytest.approx([value for _, value in recorded])
    (picture,) = events.Images("rl/completions")
    assert (picture.step, picture.width, picture.height) == (3, 4 * 192, 192)
    assert "_hparams_/session_start_info" in events.summary_metadata


def test_a_contact_sheet_has_a_tile_for_each_completion_with_its_boxes():
    example = NucleiCrops("test")[1]
    texts = ("1 nucleus <box>[[250, 500, 500, 1000]]</box>", "none", "<box>[[900, 0, 100, 50]]</box>")
    group = Group(
        example=example,
        completions=tuple(Completion(text=text) for text in texts),
        scores=(Score(value=0.5), Score(value=None, status="error"), Score(value=0.0)),
    )
    sheet = contact_sheet(group)
    assert sheet.shape == (192, 3 * 192, 3)
    colours = [{tuple(p) for p in sheet[:, 192 * k : 192 * (k + 1)].reshape(-1, 3)} for k in range(3)]
    true, predicted = (tuple(int(c[k : k + 2], 16) for k in (1, 3, 5)) for c in (TRUE_COLOUR, PREDICTED_COLOUR))
    assert [true in found for found in colours] == [True, True, True]
    assert [predicted in found for found in colours] == [True, False, False]
    assert captions(group).splitlines()[:2] == [f"0.500  {texts[0]}", "-  none"]


def test_a_logger_whose_package_is_missing_is_refused_with_the_command(monkeypatch):
    monkeypatch.setattr(
        "groundrl.experiments.recording.loggers.find_spec", lambda name: None if name == "wandb" else object()
    )
    check_loggers(["tensorboard", "trackio"])
    with pytest.raises(ConfigError, match=r"loggers: wandb is not installed; pip install 'groundrl\[wandb\]'"):
        check_loggers(["tensorboard", "wandb"])
    with pytest.raises(ConfigError, match="loggers"):
        load_config("quickstart", {"loggers": ["wand"]})


def test_hyper_parameters_are_flat_with_stages_by_name():
    found = flat(load_config("quickstart", {})[0].model_dump(mode="json"))
    assert (found["stages.rl.group_size"], found["data.test"], found["seed"]) == (8, "nuclei/test", 0)
