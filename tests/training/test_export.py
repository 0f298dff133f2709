# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from tests.training.dataset_folder import write_dataset
from training.dataset import Dataset, Scaling
from training.halo import (
    AGREEMENT,
    MARGIN,
    STEP,
    HaloTrial,
    impulse_reach,
    measure_halo,
    mirrored,
    prove,
    smallest_enough,
)
from training.identity import Identity
from training.whole_and_tiled import Difference, OpenModel, calibrated, tiled, whole
from unet_segmenter.engine.errors import JobError, ModelError
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


@pytest.mark.parametrize(("height", "width"), [(160, 176), (48, 40)], ids=["larger", "smaller"])
def test_the_halo_of_a_network_of_known_reach_is_found_on_images_of_any_size(card, height, width):
    """A frame smaller than the context is continued by its mirror image."""
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)
    network = _box_filter(20)
    assert 0 < impulse_reach(network, [image], card) <= 20
    trials = measure_halo(network, [image], card, 48)
    assert [trial.halo for trial in trials] == sorted({trial.halo for trial in trials})
    assert smallest_enough(trials).halo == 32
    large = mirrored(image, 160)
    exact = whole(network, large, card)
    assert np.abs(tiled(network, large, card, 48, 32) - exact).max() < 1e-6
    assert np.abs(tiled(network, large, card, 48, 0) - exact).max() > STEP


def test_blocks_with_too_small_a_halo_do_not_pass_the_proof(card):
    image = np.random.default_rng(1).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    network = _box_filter(20)
    card = replace(card, divisor=16, cuts=None)
    assert prove(network, [image], replace(card, halo=32), [48]).largest < 1e-6
    assert prove(network, [image], replace(card, halo=16), [48]).agreement < AGREEMENT


def test_the_shipped_card_tells_what_was_measured(card):
    details = card.details
    measured = details["tile_versus_whole"]
    assert measured["halo"] == card.halo <= card.theoretical_halo
    assert measured["largest_difference"] <= STEP
    assert measured["mask_agreement"] >= 0.9999
    assert "never saw its group" in details["metrics"]["split"]
    assert details["metrics"]["images"] == 877
    assert details["metrics"]["per_class"]["vegetation"]["iou"] > 0.7
    for file in card.files:
        assert card.checked_path(file).stat().st_size == file.size


def test_the_shipped_onnx_and_keras_files_are_one_function(card):
    pytest.importorskip("tensorflow", reason="the engine opens a .keras file with it")
    image = np.random.default_rng(2).integers(0, 256, (160, 128, 3)).astype(np.uint8)
    expected = whole(OpenModel(card, "tensorflow"), image, card)
    assert expected.shape == (160, 128, len(card.classes))
    assert expected.std() > 0.05
    for runtime in ("onnxruntime", "openvino"):
        found = whole(OpenModel(card, runtime), image, card)
        assert np.abs(found - expected).max() < 1e-4, runtime


# Networks with every layer of the presets, small enough to export in seconds.


def _plain():
    from training.plain_unet import build_plain_unet

    return build_plain_unet(2, width=4, depth=2, dropout=0.1)


def _softmax():
    from training.plain_unet import build_plain_unet

    return build_plain_unet(3, width=4, depth=1)


def _course():
    from training.course_unet import build_course_unet

    return build_course_unet(2, base=2, dropout=0.1)


def _half_resolution():
    """What the reduced lite networks begin and end with, and what they are made of."""
    import keras
    from keras import layers

    def smooth(x, name):
        x = layers.UpSampling2D(2, interpolation="nearest", name=f"{name}_up")(x)
        return layers.AveragePooling2D(3, 1, padding="same", name=f"{name}_smooth")(x)

    image = layers.Input((None, None, 3), name="image")
    x = layers.AveragePooling2D(2, name="reduce")(image)
    skip = layers.Conv2D(4, 3, padding="same", use_bias=False, name="stem")(x)
    x = layers.BatchNormalization(name="stem_norm")(skip)
    x = layers.ReLU(6.0, name="stem_relu")(x)
    x = layers.DepthwiseConv2D(5, strides=2, padding="same", use_bias=False, name="depth")(x)
    x = layers.BatchNormalization(name="depth_norm")(x)
    x = layers.UpSampling2D(2, interpolation="nearest", name="up")(x)
    x = layers.Concatenate(name="concat")([x, skip])
    x = layers.SpatialDropout2D(0.2, name="dropout")(x)
    x = layers.Conv2D(2, 1, name="head")(x)
    return keras.Model(image, smooth(x, "full"), name="half")


RAW = Scaling((0.0,) * 3, (1.0,) * 3)
ZSCORE = Scaling((127.0,) * 3, (128.0,) * 3)
NETWORKS = {
    "plain": (_plain, "sigmoid", ZSCORE, 4),
    "softmax": (_softmax, "softmax", ZSCORE, 2),
    "course": (_course, "sigmoid", RAW, 16),
    "half": (_half_resolution, "sigmoid", ZSCORE, 4),
}


def _with_lively_weights(model, images):
    """Normalisation that is not the identity, so that a wrong fold shows, but fits the images."""
    rng = np.random.default_rng(3)
    norms = [layer for layer in model.layers if type(layer).__name__ == "BatchNormalization"]
    for layer in norms:
        size = layer.weights[0].shape[0]
        layer.set_weights([rng.uniform(0.7, 1.3, size), rng.normal(0, 0.3, size),
                           *layer.get_weights()[2:]])  # fmt: skip
        layer.momentum = 0.0
    model(images, training=True)
    return model


@pytest.fixture(scope="module", params=NETWORKS)
def exported(request, tmp_path_factory):
    """Name, network and scaling that were exported, the data set, and the result."""
    pytest.importorskip("keras", reason="training needs keras")
    import keras

    from training.export import ExportPlan, export

    build, head, scaling, divisor = NETWORKS[request.param]
    keras.utils.set_random_seed(4)
    folder = tmp_path_factory.mktemp(request.param)
    dataset = Dataset.open(write_dataset(folder / "data"))
    image = dataset.read(dataset.split("train")[0])[0]
    model = _with_lively_weights(build(), scaling(image)[None])
    plan = ExportPlan(
        Identity.of(dataset, "stripes", description="Of the tests."), scaling, head,
        training={"epochs": 3}, halo_images=2, proof_images=1, bf16_images=0,
    )  # fmt: skip
    lines = []
    result = export(model, dataset, folder / "model", plan, lines.append)
    return model, scaling, head, divisor, dataset, result, lines


def test_an_exported_model_opens_with_everything_its_card_promises(exported):
    _model, scaling, head, divisor, dataset, result, lines = exported
    card = ModelCard.load(result.card.folder)
    assert card == result.card
    assert (card.name, card.license, card.citation) == ("stripes", "CC0-1.0", "Drawn by the tests.")
    assert card.details["sources"] == [{"title": "Drawn"}]
    assert card.input.gsd_range == (0.05, 0.2)
    assert card.input.mean == scaling.mean
    assert card.activation == head
    assert card.divisor == divisor
    assert [(c.name, c.value, c.color) for c in card.classes] == [
        (c.name, c.value, c.color) for c in dataset.classes
    ]
    assert {file.name for file in card.files} == {"model.onnx", "model.keras"}
    for file in card.files:
        card.checked_path(file)
    assert (card.folder / "trainable.keras").is_file()
    details = card.details
    assert details["onnx_versus_keras"]["largest_difference"] < 1e-4
    assert details["tile_versus_whole"]["largest_difference"] <= STEP
    assert details["training"]["epochs"] == 3
    assert details["training"]["dataset"]["fingerprint"] == dataset.fingerprint()
    assert details["metrics"]["frames"] == 2
    assert "2 groups not trained on" in details["metrics"]["split"]
    assert set(details["calibration"]["per_class"]) == {"meadow", "road"}
    assert lines


def test_onnx_and_trained_network_give_the_same_probabilities(exported):
    model, scaling, head, _divisor, dataset, result, _ = exported
    image = dataset.read(dataset.split("validation")[0])[0]
    logits = np.asarray(model.predict_on_batch(scaling(image[None])))[0]
    if head == "softmax":
        power = np.exp(logits - logits.max(axis=-1, keepdims=True))
        expected = power / power.sum(axis=-1, keepdims=True)
    else:
        expected = 1 / (1 + np.exp(-np.clip(logits, -50, 50)))
    found = whole(OpenModel(result.card, "onnxruntime"), image, result.card)
    assert expected.std() > 0.02
    # Kernels are rounded to eight bits, with the mean put right, unless that changes too much.
    rounding = result.card.details.get("rounded_versus_trained")
    assert np.abs(found - expected).max() < (0.05 if rounding else 1e-4)
    assert rounding is None or rounding["mask_agreement"] >= 0.995


def test_blocks_equal_one_pass_with_the_halo_of_the_card(exported):
    card, dataset = exported[5].card, exported[4]
    network = calibrated(OpenModel(card, "onnxruntime"), card)
    image = mirrored(dataset.read(dataset.split("validation")[1])[0], 200)
    exact = whole(network, image, card)
    assert exact.shape == (*image.shape[:2], 2)
    blocks = tiled(network, image, card, 64, card.halo)
    assert np.abs(blocks - exact).max() <= STEP


def test_the_engine_maps_with_the_calibration_and_thresholds_of_the_card(exported, tmp_path):
    """Also those of a softmax, whose first channel is no class."""
    import rasterio

    from unet_segmenter.engine.fuse import class_mask
    from unet_segmenter.engine.job import JobSpec
    from unet_segmenter.engine.pipeline import run_job
    from unet_segmenter.engine.progress import SilentProgress

    card, dataset = exported[5].card, exported[4]
    image = dataset.read(dataset.split("validation")[1])[0]
    grid = {"height": image.shape[0], "width": image.shape[1], "crs": "EPSG:32632"}
    transform = rasterio.Affine(0.1, 0, 5e5, 0, -0.1, 5e6)
    with rasterio.open(
        tmp_path / "i.tif", "w", driver="GTiff", count=3, dtype="uint8", transform=transform, **grid
    ) as raster:
        raster.write(np.moveaxis(image, -1, 0))
    job = JobSpec(
        str(tmp_path / "i.tif"), str(tmp_path / "m.tif"), str(card.folder), precision="f32",
        runtime="onnxruntime", probability=str(tmp_path / "p.tif"), probability_type="float32",
    )  # fmt: skip
    run_job(job, SilentProgress())
    classes = sorted(card.classes, key=lambda one: one.channel)
    expected = whole(calibrated(OpenModel(card, "onnxruntime"), card), image, card)
    with rasterio.open(tmp_path / "p.tif") as raster:
        assert np.abs(np.moveaxis(raster.read(), 0, -1) - expected).max() < 1e-4
    with rasterio.open(tmp_path / "m.tif") as raster:
        found = raster.read(1)
    mask = class_mask(expected, [c.value for c in classes], [c.threshold for c in classes])
    assert (found == mask).mean() > 0.999
    assert any(not one.calibration.is_identity or one.threshold != 0.5 for one in classes)


def test_the_exported_onnx_opens_as_a_deepness_model_with_the_same_probabilities(exported):
    from unet_segmenter.engine.deepness import deepness_card

    card, dataset = exported[5].card, exported[4]
    theirs = deepness_card(card.folder / "model.onnx")
    assert theirs.input.mean == pytest.approx(card.input.mean)
    assert theirs.input.stddev == pytest.approx(card.input.stddev)
    assert theirs.input.gsd_range == pytest.approx((0.05, 0.2), rel=0.01)
    assert theirs.divisor == card.divisor
    assert card.halo <= theirs.halo <= card.halo + 2 * card.divisor
    names = {one.channel: one.name for one in theirs.classes}
    assert all(names[one.channel] == one.name for one in card.classes)
    image = dataset.read(dataset.split("validation")[0])[0]
    ours = whole(OpenModel(card, "onnxruntime"), image, card)
    found = whole(OpenModel(theirs, "onnxruntime"), image, theirs)
    assert np.abs(found - ours).max() < 1e-5


def test_what_deepness_feeds_is_what_the_network_was_trained_on(exported):
    import onnx

    scaling, card = exported[1], exported[5].card
    proto = onnx.load(card.folder / "model.onnx")
    told = {prop.key: json.loads(prop.value) for prop in proto.metadata_props}
    assert told["model_type"] == "Segmentor"
    image = np.random.default_rng(0).integers(0, 256, (4, 4, 3)).astype(np.uint8)
    mean, stddev = told["standardization_mean"], told["standardization_std"]
    fed = (image / 255 - np.array(mean)) / np.array(stddev)
    assert np.abs(fed - scaling(image)).max() < 1e-4 * np.abs(scaling(image)).max()
    assert told["tile_size"] % card.divisor == 0
    assert told["tile_size"] * told["tiles_overlap"] / 200 >= card.halo


@pytest.mark.parametrize("exported", ["softmax"], indirect=True)
def test_the_command_exports_a_network_again_with_the_scaling_of_its_card(
    exported, tmp_path, capsys
):
    from training.__main__ import main

    card, dataset, scaling, head = exported[5].card, exported[4], exported[1], exported[2]
    arguments = [
        "export", str(card.folder / "trainable.keras"), str(dataset.folder), "--head", head,
        "--calibration", "temperature", "--threshold", "otsu", "--license", "CC-BY-4.0",
    ]  # fmt: skip
    assert main([*arguments, "--output", str(tmp_path / "again")]) == 0
    again = ModelCard.load(tmp_path / "again")
    assert again.input.mean == scaling.mean
    assert (again.name, again.license) == ("again", "CC-BY-4.0")
    assert again.details["calibration"]["method"] == "temperature"
    assert all(one.calibration.offset == 0 for one in again.classes)
    if "precision" in again.details:
        assert again.details["precision"]["bf16"]["images"] == 2
    image = dataset.read(dataset.samples[0])[0]
    first, second = (whole(OpenModel(one, "onnxruntime"), image, one) for one in (card, again))
    assert np.abs(first - second).max() < 1e-5
    capsys.readouterr()
    assert main([*arguments, "--output", str(tmp_path / "again")]) == JobError.exit_code
    assert "holds a model already" in capsys.readouterr().err
    assert main(["export", "no.keras", str(dataset.folder), "--output", str(tmp_path / "x")]) == 4
    assert "no such file" in capsys.readouterr().err


def test_a_network_that_sees_the_whole_image_is_refused(tmp_path):
    pytest.importorskip("keras", reason="training needs keras")
    import keras

    from training.export import ExportPlan, export

    image = keras.Input((None, None, 3))
    x = keras.layers.GlobalAveragePooling2D(keepdims=True)(image)
    x = keras.layers.Conv2D(2, 1)(keras.layers.Add()([image, x]))
    dataset = Dataset.open(write_dataset(tmp_path / "data"))
    plan = ExportPlan(Identity.of(dataset, "stripes"), ZSCORE)
    with pytest.raises(ModelError, match="the whole image"):
        export(keras.Model(image, x), dataset, tmp_path / "model", plan)
    assert not (tmp_path / "model" / "card.json").exists()


def test_a_model_that_fails_its_proof_is_none_and_leaves_what_was_there(
    exported, tmp_path, monkeypatch
):
    import training.export
    from training.export import ExportPlan, export

    model, scaling, head, _divisor, dataset, result, _lines = exported
    there = tmp_path / "model"
    shutil.copytree(result.card.folder, there)
    before = {path.name: path.read_bytes() for path in there.iterdir()}
    monkeypatch.setattr(training.export, "ONNX_TOLERANCE", -1.0)
    plan = ExportPlan(Identity.of(dataset, "stripes"), scaling, head, proof_images=0)
    for folder in (there, tmp_path / "new"):
        with pytest.raises(ModelError, match="is not the network that was trained"):
            export(model, dataset, folder, plan, lambda _line: None)
    assert {path.name: path.read_bytes() for path in there.iterdir()} == before
    assert not list((tmp_path / "new").iterdir())


def test_channels_that_are_not_the_classes_are_refused(tmp_path):
    pytest.importorskip("keras", reason="training needs keras")
    from training.export import ExportPlan, export

    dataset = Dataset.open(write_dataset(tmp_path / "data"))
    plan = ExportPlan(Identity.of(dataset, "stripes"), ZSCORE)
    with pytest.raises(ModelError, match="3 channels for the 2 classes"):
        export(_softmax(), dataset, tmp_path / "model", plan)


def test_a_name_that_is_no_file_name_is_refused(tmp_path):
    dataset = Dataset.open(write_dataset(tmp_path / "data"))
    with pytest.raises(JobError, match="letters"):
        Identity.of(dataset, "../meadow")


def test_a_network_that_can_be_cut_is_exported_with_its_parts_proven(tmp_path, monkeypatch):
    pytest.importorskip("tensorflow", reason="training needs tensorflow")
    pytest.importorskip("openvino", reason="networks are run in parts by OpenVINO")
    import training.cuts
    from training.export import ExportPlan, export

    monkeypatch.setattr(training.cuts, "CUT_FROM", 1)
    dataset = Dataset.open(write_dataset(tmp_path / "data"))
    plan = ExportPlan(Identity.of(dataset, "stripes"), ZSCORE, bf16_images=0)
    lines: list[str] = []
    card = export(_half_resolution(), dataset, tmp_path / "model", plan, lines.append).card
    assert card.cuts is not None
    assert [part.inputs[0] for part in card.cuts.parts][:1] == ["reduce"]
    assert len(card.cuts.parts) == 3
    assert card.details["parts_versus_whole"]["largest_difference"] <= STEP
    assert any("parts with halos" in line for line in lines)
