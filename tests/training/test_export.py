# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import numpy as np
import pytest

from training.datasets.aeroscapes import CLASSES
from training.evaluate import evaluate, table
from training.halo import MARGIN, STEP, HaloTrial, impulse_reach, measure_halo, smallest_enough
from training.whole_and_tiled import Difference, OpenModel, tiled, whole
from unet_segmenter.engine.model_card import ModelCard

SHIPPED = "resources/models/aeroscapes"


@pytest.fixture
def card(repository) -> ModelCard:
    return ModelCard.load(repository / SHIPPED)


def _trial(halo, largest, agreement=1.0):
    return HaloTrial(halo, Difference(largest, agreement))


def test_the_halo_is_the_smallest_from_which_on_all_are_enough():
    trials = [_trial(16, 0.0), _trial(32, 0.1), _trial(48, 0.001), _trial(64, 0.0)]
    assert smallest_enough(trials).halo == 48


def test_a_halo_is_enough_by_both_difference_and_decisions():
    assert _trial(16, MARGIN * STEP * 0.99).enough
    assert not _trial(16, MARGIN * STEP * 1.01).enough
    assert not _trial(16, 0.0, 0.9998).enough


def _box_filter(reach):
    """A network of known reach: the mean over `reach` px to each side, in all six channels."""

    def run(images):
        padded = np.pad(images[..., 0], ((0, 0), (reach, reach), (reach, reach)))
        total = padded.cumsum(1).cumsum(2)
        total = np.pad(total, ((0, 0), (1, 0), (1, 0)))
        side = 2 * reach + 1
        mean = total[:, side:, side:] - total[:, :-side, side:]
        mean += total[:, :-side, :-side] - total[:, side:, :-side]
        mean = 1 / (1 + np.exp(-mean / side**2))
        return np.repeat(mean[..., None], 6, axis=-1).astype(np.float32)

    return run


def test_the_halo_of_a_network_of_known_reach_is_found(card):
    image = np.random.default_rng(0).integers(0, 256, (160, 176, 3)).astype(np.uint8)
    network = _box_filter(20)
    assert 0 < impulse_reach(network, [image], card) <= 20
    assert smallest_enough(measure_halo(network, [image], card, [48])).halo == 32
    exact = whole(network, image, card)
    assert np.abs(tiled(network, image, card, 48, 32) - exact).max() < 1e-6
    assert np.abs(tiled(network, image, card, 48, 0) - exact).max() > STEP


def test_scores_are_those_of_the_claims_per_class_and_site(card):
    labels = np.zeros((32, 32), np.uint8)
    labels[:16] = 1
    claims = np.full((1, 32, 32, 6), 0.1, np.float32)
    claims[:, :8, :, 0] = 0.9  # half of the vegetation, nothing else

    image = np.zeros((32, 32, 3), np.uint8)
    samples = [("000001_001", (image, labels)), ("001001_001", (image, np.zeros_like(labels)))]
    metrics = evaluate(lambda _images: claims, card, samples)
    assert metrics["per_class"]["vegetation"] == {
        "iou": 0.3333,
        "dice": 0.5,
        "precision": 0.5,
        "recall": 0.5,
    }
    assert metrics["per_class"]["sky"]["iou"] is None
    assert metrics["mean_iou"] == 0.3333
    assert metrics["per_site"]["000"] == {
        "frames": 1,
        "iou": {cls.name: 0.5 if cls.value == 1 else None for cls in CLASSES},
    }
    assert metrics["per_site"]["001"]["iou"]["vegetation"] == 0
    assert "| vegetation | 0.333 | 0.500 | 0.500 | 0.500 | 0.333 |" in table(metrics)


def test_the_shipped_card_tells_what_was_measured(card):
    details = card.details
    assert [c.value for c in card.classes] == [cls.value for cls in CLASSES]
    assert [c.name for c in card.classes] == [cls.name for cls in CLASSES]
    measured = details["tile_versus_whole"]
    assert measured["halo"] == card.halo < card.theoretical_halo
    assert measured["largest_difference"] <= STEP
    assert measured["mask_agreement"] >= 0.9999
    assert details["metrics"]["frames"] == 185
    assert details["metrics"]["per_class"]["vegetation"]["iou"] > 0.9
    for file in card.files:
        assert card.checked_path(file).stat().st_size == file.size


def test_the_shipped_onnx_and_keras_files_are_one_function(card):
    pytest.importorskip("tensorflow", reason="training needs tensorflow")
    image = np.random.default_rng(2).integers(0, 256, (160, 128, 3)).astype(np.uint8)
    expected = whole(OpenModel(card, "tensorflow"), image, card)
    assert expected.shape == (160, 128, 6)
    assert expected.std() > 0.05
    for runtime in ("onnxruntime", "openvino"):
        found = whole(OpenModel(card, runtime), image, card)
        assert np.abs(found - expected).max() < 1e-4, runtime


def test_export_writes_a_model_that_the_library_opens(random_model, tmp_path):
    from training.export import export, ready_to_ship

    rng = np.random.default_rng(0)
    frame = rng.integers(0, 256, (112, 128, 3)).astype(np.uint8)
    model = ready_to_ship(random_model, [frame])
    labels = rng.integers(0, 7, (112, 128)).astype(np.uint8)
    stems = ["000001_001", "001001_001"]
    export(
        model, tmp_path, stems, lambda _stem: (frame, labels), {"validation": "drawn"}, 2,
        lambda _line: None,
    )  # fmt: skip
    card = ModelCard.load(tmp_path)
    assert card.theoretical_halo == 224
    assert card.details["metrics"]["frames"] == 2
    assert card.details["onnx_versus_keras"]["largest_difference"] < 1e-4
    assert {file.name for file in card.files} == {"model.onnx", "model.keras"}
