# SPDX-License-Identifier: GPL-2.0-or-later
"""The plugin repeats what can be chosen for a training: the same names as in `training`."""

from __future__ import annotations

import dataclasses

import pytest

from unet_segmenter import cli
from unet_segmenter.commands import evaluate, preparedataset, trainmodel
from unet_segmenter.runners import in_process, training_choices

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
    told = {"reader"} if kind == "prepare" else set()
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


def test_a_model_of_the_library_is_started_from_by_its_name(
    toy_unet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNET_SEGMENTER_MODELS", str(toy_unet.parent))
    options = cli._parser().parse_args(["trainmodel", "/set", "/model", "--start", "toy_unet"])
    assert trainmodel._values(options)["start"] == str(toy_unet)
