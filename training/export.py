# SPDX-License-Identifier: GPL-2.0-or-later
"""A trained network -> a model of the library: model.keras, model.onnx and a measured card."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unet_segmenter.engine.errors import JobError, ModelError, RuntimeMissingError
from unet_segmenter.engine.model_card import CARD_NAME, ModelCard
from unet_segmenter.engine.reliability import ScoreHistogram

from . import deepness
from .answers import OPEN, YES
from .calibrate import CalibrationPlan, CalibrationResult, calibrate, gather, into_card
from .card import files_of, first_card, told_split, write_card
from .dataset import Dataset, Sample, Scaling
from .evaluate import Evaluation, answers_for, evaluate
from .evidence import evidence_of
from .fold import fold, round_kernels
from .graph import divisor_of, theoretical_halo
from .halo import measured_halo, told_difference
from .identity import Identity
from .onnx_writer import write_onnx
from .parts_proof import proven_cuts
from .whole_and_tiled import (
    NO_DIFFERENCE,
    Difference,
    Network,
    OpenModel,
    calibrated,
    on_all_cores,
    scaled_and_padded,
    thresholds_of,
    whole,
)

if TYPE_CHECKING:
    import keras

ONNX_TOLERANCE = 1e-4
"""ONNX and Keras may differ by so much in a probability."""
ROUNDING_AGREEMENT = 0.995
"""Kernels are rounded to what half precision holds where so many decisions stay."""
BF16_LOSS = 0.002
"""The card offers bf16 where the mean IoU falls by no more than this."""
HEADS = ("sigmoid", "softmax")
FOLD_SIDE = 384
FOLD_IMAGES = 8
UNFINISHED = "unfinished"
"""Folder within a model's own in which its files lie until all is measured and proven."""


@dataclass(frozen=True)
class ExportPlan:
    """What to export, and how thoroughly to measure it.

    Attributes
    ----------
    identity : Identity
        What the card says of the model.
    scaling : Scaling
        What the network was fed: (value - mean) / stddev. Mean 0 and stddev 1 are raw values.
    head : str
        "sigmoid" (one-vs-rest, a channel a class) or "softmax" (likewise, or one channel more,
        the first, for none of the classes).
    calibration : CalibrationPlan or CalibrationResult
        A plan is fitted on the validation split; a result, of leave-sites-out models for
        instance, is taken as it is.
    training : dict
        What the card tells of the training.
    unseen : dict, optional
        Scores on images that the recipe's networks did not learn from (a cross-validation's): the
        card tells them as its metrics where this network learned from all images.
    most_images : int, optional
        Calibrate and judge on so many images of each side at most, evenly spread.
    halo_images, proof_images, bf16_images : int
        Validation images by which halo, blocks and bfloat16 are measured; 0 proof images leaves
        the theoretical halo, 0 bf16 images leaves bfloat16 out.
    """

    identity: Identity
    scaling: Scaling
    head: str = "sigmoid"
    calibration: CalibrationPlan | CalibrationResult = field(default_factory=CalibrationPlan)
    training: dict[str, Any] = field(default_factory=dict)
    unseen: dict[str, Any] | None = None
    most_images: int | None = None
    halo_images: int = 12
    proof_images: int = 6
    bf16_images: int = 60

    def __post_init__(self) -> None:
        if self.head not in HEADS:
            raise JobError(f"the head is one of {', '.join(HEADS)}, not {self.head!r}")


@dataclass(frozen=True)
class ExportResult:
    """The card that was written, and reasons not to trust its scores."""

    card: ModelCard
    doubts: tuple[str, ...] = ()


def export(
    model: keras.Model,
    dataset: Dataset,
    folder: Path,
    plan: ExportPlan,
    report: Callable[[str], None] = print,
) -> ExportResult:
    """Write the files of a model, measure them on the validation split, and write the card.

    The folder gets model.onnx, model.keras (normalisation folded, kernels rounded to what every
    runtime holds exactly), trainable.keras (as it was trained, to train further) and card.json,
    all at once when all is proven: a model that failed, or was cut off, is none.

    Parameters
    ----------
    model : keras.Model
        One flat graph from scaled images (N, H, W, B) to logits or probabilities (N, H, W, C).
    dataset : Dataset
        Its classes are the model's, in the order of the channels.
    folder : Path
        Where to write; it is made.
    plan : ExportPlan
    report : callable
        Receives each finding as a line.

    Raises
    ------
    ModelError
        If the network has a layer that cannot be written or measured, or ONNX and Keras differ
        by more than `ONNX_TOLERANCE`, or blocks by more than a step of the output.
    """
    unfinished = folder / UNFINISHED
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        _make(model, dataset, unfinished, plan, report)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    (folder / CARD_NAME).unlink(missing_ok=True)
    # The card comes last: without it a folder is no model.
    for path in sorted(unfinished.iterdir(), key=lambda path: path.name == CARD_NAME):
        path.replace(folder / path.name)
    unfinished.rmdir()
    card = ModelCard.load(folder)
    told = (card.details.get(key, {}) for key in ("metrics", "metrics_on_validation"))
    doubts = [doubt for metrics in told for doubt in metrics.get("doubts", ())]
    return ExportResult(card, tuple(doubts))


def _make(
    model: keras.Model, dataset: Dataset, folder: Path, plan: ExportPlan,
    report: Callable[[str], None],
) -> None:  # fmt: skip
    """Write and measure everything in an empty folder."""
    samples = _at_most(dataset.split("validation"), plan)
    trained = with_head(model, plan.head)
    _check_channels(trained, dataset, plan)
    divisor = divisor_of(trained)
    reach = theoretical_halo(trained, divisor)
    probes = _images_to_fold(dataset, plan.scaling, divisor)
    trained.save(folder / "trainable.keras")
    shipped, rounding = _ready_to_ship(trained, probes)
    report(f"kernels rounded to half precision against those trained: {rounding}")
    half = rounding.agreement >= ROUNDING_AGREEMENT
    shipped.save(folder / "model.keras")
    write_onnx(shipped, folder / "model.onnx", half)
    content = first_card(
        plan.identity, dataset, plan.scaling, folder, activation=plan.head, divisor=divisor,
        halo=reach, channels=shipped.output_shape[-1],
    )  # fmt: skip
    content["weights"] = shipped.count_params()
    if half:
        content["rounded_versus_trained"] = told_difference(rounding)
    content["training"] = {**plan.training, **content["training"]}
    card = write_card(content, folder)
    network = OpenModel(card)
    images = [dataset.read(sample)[0] for sample in _few(samples, plan.halo_images)]
    same = _against_keras(shipped, card, images[:4], network)
    report(f"ONNX against Keras: {same}")
    if same.largest > ONNX_TOLERANCE:
        raise ModelError(f"{folder / 'model.onnx'} is not the network that was trained: {same}")
    content["onnx_versus_keras"] = told_difference(same)

    content = into_card(content, _calibration(network, card, dataset, samples, plan))
    card = write_card(content, folder)
    report(f"calibration error {content['calibration']['mean_ece_before']} before, "
           f"{content['calibration']['mean_ece_after']} after")  # fmt: skip
    content |= _halo(network, card, images, plan, report)
    card = write_card(content, folder)
    few = images[: plan.proof_images]
    content |= proven_cuts(shipped, calibrated(network, card), card, few, report)
    card = write_card(content, folder)
    # Again, with what Deepness must know, now that all is measured.
    keys = deepness.metadata(card, shipped.output_shape[-1])
    write_onnx(shipped, folder / "model.onnx", half, keys)
    content["files"] = files_of(folder)
    card = write_card(content, folder)
    network = OpenModel(card)
    evaluation = evaluate(network, card, dataset, samples)
    content["metrics"] = _told_metrics(dataset, samples, evaluation, plan)
    report(f"mean IoU {content['metrics']['mean_iou']}")
    if held_out := _at_most(dataset.split("test"), plan):
        # Neither weights nor calibration and thresholds were chosen by these.
        content["metrics_on_validation"] = content["metrics"]
        judged = evaluate(network, card, dataset, held_out)
        content["metrics"] = _told_metrics(dataset, held_out, judged, plan)
        report(f"mean IoU on the test images {content['metrics']['mean_iou']}")
    if plan.unseen is not None:
        content["metrics_on_learned_images"] = content["metrics"]
        content["metrics"] = plan.unseen
    few = _few(samples, plan.bf16_images)
    content |= _bf16(network, card, dataset, evaluation, few, images, report)
    write_card(content, folder)


def _at_most(samples: Sequence[Sample], plan: ExportPlan) -> list[Sample]:
    return list(samples) if plan.most_images is None else _few(samples, plan.most_images)


def _told_metrics(
    dataset: Dataset, samples: Sequence[Sample], evaluation: Evaluation, plan: ExportPlan
) -> dict[str, Any]:
    """Return what a card records on scores: where measured, on how much, and what to doubt."""
    codes, answers = answers_for(dataset, evaluation.classes)
    evidence = evidence_of(dataset, samples, evaluation.names, codes, answers)
    side = samples[0].split if samples else "validation"
    doubts = evidence.doubts(side)
    return {
        "split": f"{told_split(dataset, samples, plan.training)}; {evidence}",
        **evaluation.metrics(),
        "evidence": {**evidence.to_card(), "px": evidence.px, "not_px": evidence.not_px},
        **({"doubts": doubts} if doubts else {}),
    }


def load_network(path: Path) -> keras.Model:
    """Return the network in a .keras file; no code that it brings is run.

    Raises
    ------
    ModelError
        If there is none, or it has layers that Keras does not know.
    """
    import keras

    if not path.is_file():
        raise ModelError(f"{path}: no such file; name the .keras file of a trained network")
    try:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except (ValueError, TypeError, OSError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"{path} is not a Keras model that can be opened: {reason}") from error


def with_head(model: keras.Model, head: str) -> keras.Model:
    """Return the model that gives probabilities; it shares all weights."""
    import keras

    last = model.outputs[0]._keras_history.operation
    if getattr(getattr(last, "activation", None), "__name__", "") == head:
        return model
    probability = keras.layers.Activation(head, name=head, dtype="float32")(model.output)
    return keras.Model(model.input, probability, name=model.name)


def _halo(
    network: Network, card: ModelCard, images: Sequence[np.ndarray], plan: ExportPlan,
    report: Callable[[str], None],
) -> dict[str, Any]:  # fmt: skip
    if not images or not plan.proof_images:
        report(f"halo {card.theoretical_halo}: theoretical, as nothing was measured")
        return {"halo": card.theoretical_halo}
    return measured_halo(calibrated(network, card), card, images, plan.proof_images, report)


def agreement(
    first: Network, second: Network, images: Sequence[np.ndarray], card: ModelCard
) -> Difference:
    """Compare two ways to run one model, whole image by whole image."""
    thresholds, difference = thresholds_of(card), NO_DIFFERENCE

    def compare(image: np.ndarray) -> Difference:
        return Difference.between(whole(first, image, card), whole(second, image, card), thresholds)

    for found in on_all_cores(compare, images):
        difference = difference.worse(found)
    return difference


def _check_channels(model: keras.Model, dataset: Dataset, plan: ExportPlan) -> None:
    bands, channels = model.input_shape[-1], model.output_shape[-1]
    if bands != len(dataset.bands):
        raise ModelError(
            f"the network takes {bands} bands, the images of {dataset.folder} have "
            f"{len(dataset.bands)}"
        )
    classes = len(dataset.classes)
    allowed = (classes, classes + 1) if plan.head == "softmax" else (classes,)
    if channels not in allowed:
        raise ModelError(
            f"the network gives {channels} channels for the {classes} classes of {dataset.folder}"
        )
    if len(plan.scaling.mean) != bands:
        raise ModelError(f"the scaling is of {len(plan.scaling.mean)} bands, not of {bands}")


def _ready_to_ship(trained: keras.Model, images: np.ndarray) -> tuple[keras.Model, Difference]:
    """Return the folded network, its kernels rounded unless that sways its decisions."""
    exact = np.asarray(fold(trained).predict_on_batch(images))
    shipped = round_kernels(fold(trained), images)
    found = np.asarray(shipped.predict_on_batch(images))
    rounding = Difference.between(found, exact, np.full(exact.shape[-1], 0.5, np.float32))
    return (shipped if rounding.agreement >= ROUNDING_AGREEMENT else fold(trained)), rounding


def _images_to_fold(dataset: Dataset, scaling: Scaling, divisor: int) -> np.ndarray:
    """Return scaled training images (N, S, S', B), as large as the smallest of them allows."""
    samples = _few(dataset.split("train") or dataset.samples, FOLD_IMAGES)
    height, width = (
        max(min(FOLD_SIDE, *sides, *sides) // divisor, 1) * divisor
        for sides in ([s.height for s in samples], [s.width for s in samples])
    )
    images = [_padded(dataset.read(s)[0][:height, :width], height, width) for s in samples]
    return np.stack([scaling(image) for image in images])


def _padded(image: np.ndarray, height: int, width: int) -> np.ndarray:
    pads = (0, height - image.shape[0]), (0, width - image.shape[1]), (0, 0)
    return np.pad(image, pads, mode="symmetric")


def _against_keras(
    model: keras.Model, card: ModelCard, images: Sequence[np.ndarray], network: Network
) -> Difference:
    difference = NO_DIFFERENCE
    for image in images:
        batch = scaled_and_padded(image, card)
        exact, found = np.asarray(model.predict_on_batch(batch)), network(batch)
        thresholds = np.full(exact.shape[-1], 0.5, np.float32)
        difference = difference.worse(Difference.between(found, exact, thresholds))
    return difference


def _calibration(
    network: Network, card: ModelCard, dataset: Dataset, samples: Sequence[Sample], plan: ExportPlan
) -> CalibrationResult:
    if isinstance(plan.calibration, CalibrationResult):
        return plan.calibration
    classes = sorted(card.classes, key=lambda cls: cls.channel)
    codes, answers = answers_for(dataset, classes)
    run = calibrated(network, card)  # the card's calibration is still the identity

    def count(sample: Sample) -> tuple[str, ScoreHistogram]:
        image, mask = dataset.read(sample)
        row = answers[codes[mask]]
        found = ScoreHistogram.of_answers(whole(run, image, card), row == YES, row != OPEN)
        return sample.group, found

    groups = gather(on_all_cores(count, samples))
    return calibrate(groups, [cls.name for cls in classes], plan.calibration)


def _bf16(
    network: Network, card: ModelCard, dataset: Dataset, exact: Evaluation,
    samples: Sequence[Sample], images: Sequence[np.ndarray], report: Callable[[str], None],
) -> dict[str, Any]:  # fmt: skip
    """Return the card's entry that allows bfloat16, where it costs nothing that matters."""
    if not samples:
        return {}
    reduced = OpenModel(card, "openvino", "bf16")
    try:
        lower = evaluate(reduced, card, dataset, samples).mean_iou(samples)
        difference = agreement(calibrated(reduced, card), calibrated(network, card), images, card)
    except (JobError, RuntimeMissingError) as error:
        report(f"bf16 was not measured: {error}")
        return {}
    full = exact.mean_iou(samples)
    report(f"in bf16 mean IoU {lower:.4f} instead of {full:.4f}, {difference}")
    if not full - lower <= BF16_LOSS:
        return {}
    entry = {"images": len(samples), "mean_iou": round(lower, 4), "mean_iou_f32": round(full, 4)}
    return {"precision": {"bf16": {**told_difference(difference), **entry}}}


def _few(samples: Sequence[Any], count: int) -> list[Any]:
    """Return ``count`` of the samples, evenly spread."""
    if len(samples) <= count:
        return list(samples)
    return [samples[int(at)] for at in np.linspace(0, len(samples) - 1, count)]
