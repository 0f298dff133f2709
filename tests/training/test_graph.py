# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="training needs tensorflow")

from training.fold import fold
from training.graph import divisor_of, layers_with_parents, theoretical_halo
from training.onnx_writer import write_onnx
from training.whole_and_tiled import Network
from unet_segmenter.engine.errors import ModelError


def _plain():
    from training.plain_unet import build_plain_unet

    return build_plain_unet(2, width=2, depth=2, dropout=0.2)


def _course():
    from training.course_unet import build_course_unet

    return build_course_unet(1, base=1)


def _padded():
    """Zero padding before a convolution without its own, average and maximum pools, activations."""
    import keras
    from keras import layers

    image = x = layers.Input((None, None, 3))
    x = layers.AveragePooling2D(2)(x)
    x = layers.ZeroPadding2D(((1, 1), (2, 0)))(x)
    x = layers.Conv2D(3, 3, activation="relu")(x)
    x = layers.BatchNormalization()(x)
    x = layers.LeakyReLU(negative_slope=0.1)(x)
    x = layers.MaxPooling2D(3, strides=1, padding="same")(x)
    x = layers.Dropout(0.5)(x)
    x = layers.Conv2D(2, 1, activation="silu")(x)
    x = layers.UpSampling2D(2, interpolation="nearest")(x)
    return keras.Model(image, layers.AveragePooling2D(3, 1, padding="same")(x))


def _lite():
    from training.unet import build_unet

    return build_unet(2, reduction=2)


NETWORKS = {"plain": (_plain, 4), "course": (_course, 16), "padded": (_padded, 2)}


def _lively(model):
    """Positive weights, so that every path through the network shows."""
    rng = np.random.default_rng(1)
    for weight in model.weights:
        low = 0.5 if "variance" in weight.path else 0.05
        weight.assign(rng.uniform(low, low + 0.4, weight.shape))
    return model


@pytest.fixture(params=NETWORKS)
def network(request):
    build, divisor = NETWORKS[request.param]
    return _lively(build()), divisor


def _run(model) -> Network:
    return lambda images: np.asarray(model.predict_on_batch(images))


def test_the_divisor_is_the_coarsest_stride(network):
    model, divisor = network
    assert divisor_of(model) == divisor
    assert divisor_of(_lite()) == 32


def test_nothing_beyond_the_halo_sways_a_block_and_something_inside_does(network):
    model, divisor = network
    halo = theoretical_halo(model, divisor)
    side = 2 * halo + 3 * divisor
    start = halo + divisor
    block = slice(start, start + divisor)
    before = np.random.default_rng(0).uniform(0, 1, (1, divisor, side, 3)).astype(np.float32)
    expected = _run(model)(before)[:, :, block]
    beyond = before.copy()
    beyond[:, :, : start - halo] = beyond[:, :, start + divisor + halo :] = 5.0
    assert np.allclose(_run(model)(beyond)[:, :, block], expected, rtol=1e-5)
    inside = before.copy()
    inside[:, :, start - halo : start - halo + divisor] += 5.0
    inside[:, :, start + halo : start + halo + divisor] += 5.0
    assert not np.allclose(_run(model)(inside)[:, :, block], expected, rtol=1e-5)


def test_a_folded_network_is_the_same_function_without_what_training_needs(network):
    model, divisor = network
    folded = fold(model)
    images = np.random.default_rng(0).normal(0, 1, (2, 32, 48, 3)).astype(np.float32)
    expected, found = _run(model)(images), _run(folded)(images)
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()
    assert not any("Dropout" in type(layer).__name__ for layer in folded.layers)
    assert theoretical_halo(folded, divisor) == theoretical_halo(model, divisor)


def test_onnx_is_the_same_function_for_every_layer(network, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    model, _ = network
    write_onnx(model, tmp_path / "m.onnx", half=False)
    images = np.random.default_rng(0).normal(0, 1, (2, 32, 64, 3)).astype(np.float32)
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    found = session.run(None, {"image": images.transpose(0, 3, 1, 2)})[0].transpose(0, 2, 3, 1)
    expected = _run(model)(images)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()


def test_a_normalisation_after_an_activation_is_not_folded_into_its_convolution():
    kinds = [type(layer).__name__ for layer in fold(_padded()).layers]
    assert kinds.count("BatchNormalization") == 1


def test_a_network_inside_a_network_and_a_layer_used_twice_are_refused():
    import keras
    from keras import layers

    image = keras.Input((None, None, 3))
    with pytest.raises(ModelError, match="one flat graph"):
        layers_with_parents(keras.Model(image, _plain()(image)))
    twice = layers.Conv2D(3, 1)
    with pytest.raises(ModelError, match="more than once"):
        layers_with_parents(keras.Model(image, twice(twice(image))))


def test_layers_that_cannot_be_run_in_blocks_or_written_are_refused(tmp_path):
    import keras
    from keras import layers

    image = keras.Input((None, None, 3))
    dilated = keras.Model(image, layers.Conv2D(2, 3, dilation_rate=2, padding="same")(image))
    with pytest.raises(ModelError, match="dilated"):
        theoretical_halo(dilated, 1)
    shrinking = keras.Model(image, layers.Conv2D(2, 2, strides=2)(image))
    with pytest.raises(ModelError, match="another size"):
        divisor_of(shrinking)
    odd = keras.Model(image, layers.Conv2D(2, 1, activation="mish")(image))
    with pytest.raises(ModelError, match="mish"):
        write_onnx(odd, tmp_path / "m.onnx")
    unknown = keras.Model(image, layers.GroupNormalization(3)(image))
    with pytest.raises(ModelError, match="GroupNormalization is not supported"):
        write_onnx(unknown, tmp_path / "m.onnx")
