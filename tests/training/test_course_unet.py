# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="training needs tensorflow")

from training.course_unet import DIVISOR, build_course_unet


@pytest.fixture(scope="module")
def network():
    import keras

    keras.utils.set_random_seed(5)
    return build_course_unet()


def test_the_course_s_network_has_its_number_of_trainable_weights(network):
    assert sum(int(np.prod(w.shape)) for w in network.trainable_weights) == 1_181_753


def test_widths_and_strides_are_the_course_s(network):
    def widths(*names):
        return [network.get_layer(f"{name}_conv").filters for name in names]

    stages = [f"encoder_stage{stage}" for stage in range(1, 6)]
    assert widths(*(f"{stage}_a" for stage in stages)) == [8, 16, 32, 64, 128]
    assert widths("bridge_a", "bridge_b") == [128, 128]
    assert widths(*(f"decoder{stage}_a" for stage in (4, 3, 2, 1))) == [128, 64, 32, 16]
    strides = [network.get_layer(f"{stage}_a_conv").strides for stage in stages]
    assert strides == [(1, 1), (2, 2), (2, 2), (2, 2), (2, 2)]
    assert DIVISOR == 16
    out = network.predict_on_batch(np.zeros((1, 32, 48, 3), np.float32))
    assert out.shape == (1, 32, 48, 1)


def test_convolutions_of_blocks_come_after_normalisation_and_relu(network):
    from training.graph import layers_with_parents

    parents = {layer.name: above for layer, above in layers_with_parents(network)}
    checked = 0
    for name, above in parents.items():
        if name.endswith(("_b_conv", "bridge_a_conv")) or name == "encoder_stage3_a_conv":
            relu = above[0]
            norm = parents[relu.name][0]
            assert type(relu).__name__ == "ReLU"
            assert type(norm).__name__ == "BatchNormalization"
            checked += 1
    assert checked == 9 + 1 + 1 + 1  # second convolutions, both of the bridge, one first
    shortcut = parents["encoder_stage2_shortcut_relu"][0]
    assert shortcut.name == "encoder_stage2_shortcut_norm"
    assert parents["encoder_stage2_add"][0].name == "encoder_stage2_shortcut_relu"


def test_picking_pixels_before_the_shortcut_is_the_strided_convolution(network):
    import keras

    pick = network.get_layer("encoder_stage4_pick")
    shortcut = network.get_layer("encoder_stage4_shortcut_conv")
    assert shortcut.strides == (1, 1)
    assert shortcut.kernel_size == (1, 1)
    x = np.random.default_rng(0).normal(0, 1, (2, 10, 14, 32)).astype(np.float32)
    strided = keras.layers.Conv2D(64, 1, strides=2, padding="same")
    strided.build(x.shape)
    strided.set_weights(shortcut.get_weights())
    expected = np.asarray(strided(x))
    found = np.asarray(shortcut(pick(x)))
    assert found.shape == expected.shape == (2, 5, 7, 64)
    assert np.abs(found - expected).max() < 1e-5
    assert expected.std() > 0.1


def test_the_gradient_of_the_mended_shortcut_does_not_end_the_process(network):
    import tensorflow as tf

    images = tf.random.stateless_uniform((1, 32, 32, 3), (1, 2), 0, 255)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(network(images, training=True) ** 2)
    kernel = network.get_layer("encoder_stage2_shortcut_conv").kernel.value
    gradient = np.asarray(tape.gradient(loss, kernel))
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() > 0
