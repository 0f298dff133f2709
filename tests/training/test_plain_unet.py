# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="training needs tensorflow")

from training.plain_unet import build_plain_unet


@pytest.mark.parametrize(("width", "depth", "bands"), [(4, 1, 1), (6, 3, 5)])
def test_any_depth_width_and_number_of_bands_gives_logits_of_the_image_s_size(width, depth, bands):
    model = build_plain_unet(3, bands, width, depth)
    side = 2 ** (depth + 1)
    out = model.predict_on_batch(np.ones((2, side, 3 * side, bands), np.float32))
    assert out.shape == (2, side, 3 * side, 3)
    assert model.get_layer("encoder_stage1_a_conv").filters == width
    assert model.get_layer(f"encoder_stage{depth + 1}_b_conv").filters == width * 2**depth
    pools = [layer for layer in model.layers if layer.name.endswith("_pool")]
    assert len(pools) == depth


def test_levels_grow_no_wider_than_512():
    model = build_plain_unet(1, 3, 256, 2)
    widths = [model.get_layer(f"encoder_stage{n}_a_conv").filters for n in (1, 2, 3)]
    assert widths == [256, 512, 512]


def test_dropout_acts_in_training_only_and_adds_no_weight():
    image = np.random.default_rng(0).normal(0, 1, (1, 8, 8, 3)).astype(np.float32)
    model = build_plain_unet(1, 3, 8, 1, dropout=0.5)
    assert model.count_params() == build_plain_unet(1, 3, 8, 1).count_params()
    calm = [np.asarray(model(image, training=False)) for _ in range(2)]
    wild = [np.asarray(model(image, training=True)) for _ in range(2)]
    assert np.array_equal(*calm)
    assert not np.array_equal(*wild)
