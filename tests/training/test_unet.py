# SPDX-License-Identifier: GPL-2.0-or-later
"""The promises of the architecture: reach, folding, and export that changes nothing."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest

pytest.importorskip("keras", reason="training needs keras")

from training.fold import exact_in_half, fold, round_kernels
from training.graph import theoretical_halo
from training.onnx_writer import write_onnx
from training.unet import DIVISOR
from unet_segmenter.engine.errors import ModelError


def _run_onnx(path, images):
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"image": images.transpose(0, 3, 1, 2)})[0].transpose(0, 2, 3, 1)


def _images(seed, *shape):
    return np.random.default_rng(seed).normal(0, 1, (*shape, 3)).astype(np.float32)


def test_every_normalisation_follows_a_convolution_and_channels_suit_the_processor(random_model):
    from training.graph import layers_with_parents

    norms = 0
    for layer, parents in layers_with_parents(random_model):
        if layer.name.endswith("_norm"):
            norms += 1
            assert parents[0].name.endswith("_conv")
        if layer.name.startswith("decoder") and layer.name.endswith("_conv"):
            assert layer.filters % 16 == 0
    assert norms > 30


def test_tiled_equals_whole_with_the_theoretical_halo_and_random_weights(random_model):
    halo = theoretical_halo(random_model, DIVISOR)
    assert halo == 224
    whole_image = _images(1, 1, 2 * halo + 96, 2 * halo + 112)
    whole = random_model.predict_on_batch(whole_image)
    for row, col in ((0, 16), (16, 48), (48, 32)):
        side = 2 * halo + 48
        window = whole_image[:, row : row + side, col : col + side]
        inner = random_model.predict_on_batch(window)[:, halo:-halo, halo:-halo]
        same = whole[:, row + halo : row + side - halo, col + halo : col + side - halo]
        assert same.shape == (1, 48, 48, 6)
        assert np.abs(inner - same).max() < 1e-5


def test_nothing_beyond_the_theoretical_halo_sways_a_pixel_and_something_inside_does(random_model):
    halo = theoretical_halo(random_model, DIVISOR)
    before = _images(2, 1, DIVISOR, 2 * halo + 3 * DIVISOR)
    start = halo + DIVISOR
    block = slice(start, start + DIVISOR)
    far = before.copy()
    far[:, :, : start - halo] = 9
    far[:, :, block.stop + halo :] = 9
    near = before.copy()
    near[:, :, start - 16 : start] = 9
    was, with_far, with_near = map(random_model.predict_on_batch, (before, far, near))
    assert np.array_equal(with_far[:, :, block], was[:, :, block])
    assert np.abs(with_near[:, :, block] - was[:, :, block]).max() > 1e-4


@pytest.mark.parametrize(("half", "tolerance"), [(False, 1e-4), (True, 5e-3)])
def test_onnx_gives_what_keras_gives_at_any_size(random_model, tmp_path, half, tolerance):
    """Kernels rounded to float16 move a random network more than a trained one."""
    path = tmp_path / "model.onnx"
    write_onnx(random_model, path, half=half)
    for shape in ((2, 64, 96), (1, 160, 48)):
        images = _images(3, *shape)
        expected = random_model.predict_on_batch(images)
        found = _run_onnx(path, images)
        assert found.shape == (*shape, 6)
        assert expected.std() > 1e-3
        assert np.abs(found - expected).max() < tolerance


def test_half_precision_halves_the_file_and_leaves_no_normalisation_in_it(random_model, tmp_path):
    import onnx

    paths = [tmp_path / "half.onnx", tmp_path / "full.onnx"]
    for path, half in zip(paths, (True, False), strict=True):
        write_onnx(fold(random_model), path, half=half)
    small, large = (path.stat().st_size for path in paths)
    assert small < 0.55 * large
    kinds = {node.op_type for node in onnx.load(str(paths[0])).graph.node}
    assert {"Conv", "Resize", "Concat"} <= kinds
    assert not {"BatchNormalization", "Transpose", "Shape", "Mul"} & kinds


def test_a_saved_keras_file_holds_no_optimizer_and_loads_safely(random_model, tmp_path):
    import h5py
    import keras

    random_model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    images = _images(5, 1, 64, 64)
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        assert not json.loads(archive.read("config.json"))["compile_config"]
        archive.extract("model.weights.h5", tmp_path)
    with h5py.File(tmp_path / "model.weights.h5") as file:
        assert "optimizer" not in file
        assert "layers" in file
    assert np.array_equal(loaded.predict_on_batch(images), random_model.predict_on_batch(images))


def test_a_layer_that_sees_the_whole_image_is_refused():
    import keras

    image = keras.Input((None, None, 3))
    model = keras.Model(image, keras.layers.GlobalAveragePooling2D(keepdims=True)(image))
    with pytest.raises(ModelError, match="the whole image"):
        theoretical_halo(model, 16)


def test_folding_changes_nothing_but_the_number_of_layers(random_model):
    folded = fold(random_model)
    images = _images(6, 2, 64, 96)
    kinds = {type(layer).__name__ for layer in folded.layers}
    assert "BatchNormalization" not in kinds
    assert len(folded.layers) < len(random_model.layers)
    expected = random_model.predict_on_batch(images)
    assert np.abs(folded.predict_on_batch(images) - expected).max() < 1e-4
    assert theoretical_halo(folded, DIVISOR) == theoretical_halo(random_model, DIVISOR)


def test_a_normalisation_before_its_convolution_stays_and_is_written(tmp_path):
    import keras
    from keras import layers

    image = keras.Input((None, None, 3), name="image")
    x = layers.Conv2D(4, 3, padding="same")(layers.BatchNormalization()(image))
    model = keras.Model(image, layers.Activation("sigmoid")(layers.Conv2D(2, 1)(x)))
    norm = model.layers[1]
    norm.set_weights([np.full(3, value, np.float32) for value in (2.0, 0.5, 0.3, 4.0)])
    folded = fold(model)
    images = _images(7, 1, 32, 32)
    assert np.array_equal(folded.predict_on_batch(images), model.predict_on_batch(images))
    write_onnx(folded, tmp_path / "model.onnx", half=False)
    found = _run_onnx(tmp_path / "model.onnx", images)
    assert np.abs(found - model.predict_on_batch(images)).max() < 1e-5


def test_rounded_kernels_are_exact_in_both_halves_and_each_channel_keeps_its_mean(random_model):
    import keras
    import ml_dtypes

    model = fold(random_model)
    images = _images(8, 4, 64, 64)
    name = "encoder_block5_project_conv"
    probe = keras.Model(model.input, model.get_layer(name).output)
    before = np.asarray(probe.predict_on_batch(images)).mean(axis=(0, 1, 2))
    round_kernels(model, images)
    after = np.asarray(probe.predict_on_batch(images)).mean(axis=(0, 1, 2))
    assert np.abs(after - before).max() < 1e-3 * np.abs(before).max()
    for layer in model.layers:
        for array in layer.get_weights()[:1]:
            assert np.array_equal(array.astype(np.float16).astype(np.float32), array)
            assert np.array_equal(array.astype(ml_dtypes.bfloat16).astype(np.float32), array)


def test_rounding_takes_the_nearest_of_both_neighbours():
    step = 2.0**-7
    values = np.array([1 + 0.4 * step, 1 + 0.6 * step, -1 - 0.6 * step, 3.0, 1e-6], np.float32)
    rounded = exact_in_half(values)
    assert rounded[:4].tolist() == [1.0, 1 + step, -1 - step, 3.0]
    assert abs(rounded[4] - 1e-6) < 2.0**-24
