# SPDX-License-Identifier: GPL-2.0-or-later
"""The plugin repeats what can be chosen for a training: the same names as in `training`."""

from __future__ import annotations

import dataclasses

import pytest

from unet_segmenter import cli
from unet_segmenter.commands import evaluate, preparedataset, trainmodel
from unet_segmenter.engine import training_choices, training_flags
from unet_segmenter.runners import in_process

pytest.importorskip("keras")


def test_the_choices_are_those_of_the_tables() -> None:
    from training import calibrate, losses, optimizers, presets, stepping, train_spec

    assert set(training_choices.PRESETS) == set(presets.PRESETS)
    assert training_choices.ENCODERS == (train_spec.AUTO_ENCODER, train_spec.NO_ENCODER)
    assert set(training_choices.HEADS) == set(presets.HEADS)
    assert set(training_choices.LOSSES) == set(losses.LOSSES)
    assert set(training_choices.OPTIMIZERS) == set(optimizers.OPTIMIZERS)
    assert set(training_choices.SCHEDULES) == set(optimizers.SCHEDULES)
    assert set(training_choices.PRECISIONS) == set(stepping.PRECISIONS)
    assert set(training_choices.CALIBRATIONS) == set(calibrate.METHODS)
    assert set(training_choices.THRESHOLDS) == set(calibrate.THRESHOLDS)


def test_the_splits_and_readers_are_those_of_prepare() -> None:
    from training.prepare_spec import READERS, SPLIT_METHODS

    assert set(training_choices.READERS.values()) == set(READERS)
    assert set(training_choices.SPLITS) == set(SPLIT_METHODS)


def test_the_files_are_named_as_training_names_them() -> None:
    from training.transfer import TRAINABLE

    assert training_choices.TRAINABLE_FILE == TRAINABLE


@pytest.mark.parametrize(
    ("command", "module", "kind"),
    [
        ("preparedataset aeroscapes /in /out", preparedataset, "prepare"),
        ("trainmodel /set /model", trainmodel, "train"),
        ("evaluate /a.tif /b.tif", evaluate, "evaluate"),
    ],
)
def test_without_flags_a_command_s_defaults_are_those_of_the_specification(
    monkeypatch: pytest.MonkeyPatch, command: str, module: object, kind: str
) -> None:
    given = {}

    def run(asked, values, progress):
        given[asked] = values
        raise KeyboardInterrupt

    monkeypatch.setattr(in_process, "run_values", run)
    cli.main(command.split())
    spec = in_process.JOB_KINDS[kind].read_job(given[kind])
    needed = {
        field.name: getattr(spec, field.name)
        for field in dataclasses.fields(spec)
        if field.default is dataclasses.MISSING
    }
    expected = dataclasses.replace(type(spec)(**needed))
    told = {"prepare": {"reader"}, "train": {"start"}}.get(kind, set())
    for field in dataclasses.fields(spec):
        if field.name not in told:
            assert getattr(spec, field.name) == getattr(expected, field.name), field.name


def test_flags_of_trainmodel_become_a_specification(monkeypatch: pytest.MonkeyPatch) -> None:
    given = []

    def run(kind, values, progress):
        given.append(in_process.JOB_KINDS[kind].read_job(values))
        raise KeyboardInterrupt

    monkeypatch.setattr(in_process, "run_values", run)
    flags = (
        "trainmodel /set /models --name trees --preset unet --classes tree,grass road --head "
        "softmax --start /other --freeze 2 --epochs 3 --steps 4 --batch 5 --size 64 "
        "--learning-rate 0.1 --loss cross-entropy --augment no --seed 6 --width 7 --depth 3 "
        "--class-weights balanced --minutes 1.5 --threshold otsu --quiet"
    )
    cli.main(flags.split())
    (spec,) = given
    assert (spec.output, spec.preset, spec.head) == ("/models/trees", "unet", "softmax")
    assert (spec.classes, spec.start, spec.freeze) == (("tree", "grass", "road"), "/other", "2")
    assert (spec.epochs, spec.steps, spec.batch, spec.size) == (3, 4, 5, 64)
    assert (spec.rate, spec.loss, spec.augment, spec.seed) == (0.1, "cross-entropy", False, 6)
    assert (spec.width, spec.depth, spec.class_weights) == (7, 3, ("balanced",))
    assert (spec.minutes, spec.threshold) == (1.5, "otsu")


def test_an_image_with_polygons_is_learned_from_without_a_data_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    given = []

    def run(kind, values, progress):
        given.append(in_process.JOB_KINDS[kind].read_job(values))
        raise KeyboardInterrupt

    monkeypatch.setattr(in_process, "run_values", run)
    image, labels = tmp_path / "field.tif", tmp_path / "labels.gpkg"
    for path in (image, labels):
        path.touch()
    cli.main(
        f"trainmodel {image} {tmp_path}/model --polygons {labels} --field kind --samples "
        "everything --bands 1 2 3 --quiet".split()
    )
    (spec,) = given
    assert (spec.image, spec.polygons, spec.dataset) == (str(image), str(labels), "")
    assert (spec.field, spec.samples, spec.bands) == ("kind", "everything", (1, 2, 3))
    assert (spec.start, spec.preset, spec.minutes) == ("auto", "", None)
    assert cli.main(["trainmodel", str(image), f"{tmp_path}/model"]) == 2


def _flags_of(parser, command: str) -> dict[str, tuple]:
    """Flag to what it may be, of one command."""
    (commands,) = (one for one in parser._actions if getattr(one, "choices", None) and one.nargs)
    return {
        text: (action.dest, action.nargs, action.choices and tuple(action.choices), action.help)
        for action in commands.choices[command]._actions
        for text in action.option_strings or [action.metavar]
    }


@pytest.mark.parametrize(
    ("ours", "theirs"), [("preparedataset", "prepare"), ("trainmodel", "train")]
)
def test_both_command_lines_have_the_same_flags(ours: str, theirs: str) -> None:
    from training import __main__ as training_cli

    plugin, training = _flags_of(cli._parser(), ours), _flags_of(training_cli._parser(), theirs)
    for only_here in ("--json", "--quiet"):
        plugin.pop(only_here)
    assert plugin == training


@pytest.mark.parametrize("table", ["PREPARE", "TRAIN"])
def test_every_flag_sets_a_field_of_the_specification(table: str) -> None:
    from training.prepare_spec import PrepareSpec
    from training.train_spec import TrainSpec

    spec = PrepareSpec if table == "PREPARE" else TrainSpec
    fields = {field.name for field in dataclasses.fields(spec)}
    set_ = {flag.sets for flag in getattr(training_flags, table)}
    assert set_ | {"source", "output", "reader", "dataset", "image"} >= fields >= set_


def test_the_earlier_forms_of_the_command_line_of_training_are_understood() -> None:
    from training.__main__ import in_today_s_form

    old = ["prepare", "field.tif", "out", "--reader", "geo", "--labels", "l.gpkg"]
    assert in_today_s_form(old) == ["prepare", "geo", "field.tif", "out", "--labels", "l.gpkg"]
    assert in_today_s_form(["prepare", "in", "out"]) == ["prepare", "folders", "in", "out"]
    old = ["train", "set", "--mix", "a=.5", "--output", "model", "--epochs", "3"]
    assert in_today_s_form(old) == ["train", "set", "model", "--mix", "a=.5", "--epochs", "3"]
    assert in_today_s_form(["evaluate", "m", "--output", "o"]) == ["evaluate", "m", "--output", "o"]
