# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("keras", reason="training needs keras")

from training.graph import divisor_of
from training.presets import PRESETS, Network, freeze, preset_of
from unet_segmenter.engine.errors import JobError

SMALL = {"course": {"width": 2}, "unet": {"width": 4, "depth": 2}}


def test_the_table_holds_the_course_a_plain_unet_and_the_pretrained_ones():
    assert list(PRESETS) == ["course", "unet", "lite0", "lite1", "lite2"]
    assert [name for name, preset in PRESETS.items() if preset.pretrained] == [
        "lite0", "lite1", "lite2",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["course", "unet", "lite0"])
@pytest.mark.parametrize(("bands", "head", "channels"), [(1, "sigmoid", 2), (5, "softmax", 3)])
def test_every_preset_takes_any_bands_and_both_heads(name, bands, head, channels):
    network = Network(2, bands, head, **SMALL.get(name, {}))
    model = preset_of(name).network(network)
    side = divisor_of(model)
    logits = model.predict_on_batch(np.ones((1, side, 2 * side, bands), np.float32))
    assert logits.shape == (1, side, 2 * side, channels)
    assert np.isfinite(logits).all()


@pytest.mark.parametrize(
    ("name", "reduction"), [("course", 1), ("unet", 1), ("lite0", 1), ("lite0", 2)]
)
def test_the_head_computes_in_float32_in_mixed_precision_too(name, reduction):
    import keras

    from training.stepping import in_precision

    preset = preset_of(name)
    keras.utils.set_random_seed(2)
    with in_precision("bfloat16"):
        model = preset.network(Network(2, reduction=reduction, **SMALL.get(name, {})))
    layers = [layer.name for layer in model.layers]
    for layer in model.layers[layers.index("head_conv") :]:
        assert layer.compute_dtype == "float32", layer.name
    head = model.get_layer("head_conv")
    rng = np.random.default_rng(3)
    head.set_weights([rng.normal(size=weight.shape) for weight in head.weights])
    probe = keras.Model(model.input, [head.input, head.output])
    side = divisor_of(model)
    image = rng.normal(size=(1, 2 * side, 2 * side, 3)).astype(np.float32)
    features, logits = (np.asarray(out) for out in probe.predict_on_batch(image))
    assert str(features.dtype) == "bfloat16"
    kernel, bias = (np.asarray(weight, np.float64) for weight in head.get_weights())
    expected = features.astype(np.float64) @ kernel[0, 0] + bias
    # bfloat16 keeps eight binary digits: a head computed in it would be some hundredths away.
    assert np.abs(logits - expected).max() < 1e-4 * np.abs(expected).max()


def test_the_course_s_recipe_is_the_course_s():
    preset = preset_of("course")
    plan = preset.plan
    assert (plan.optimizer, plan.schedule, plan.loss) == ("rmsprop", "constant", "course-dice")
    assert (plan.batch, plan.keep, plan.augmentation) == (8, "val_loss", None)
    assert (plan.averaging, plan.weight_decay, plan.clip_norm, plan.encoder_rate) == (0, 0, 0, 1)
    assert (preset.framing.kind, preset.framing.size) == ("squash", 512)
    assert preset.scaling == "raw"
    assert preset.group_power == 1  # every image as likely as the others, with replacement


def test_data_that_are_no_bytes_reach_the_pretrained_encoder_with_a_photograph_s_spread(tmp_path):
    from dataclasses import replace

    from tests.training.dataset_folder import write_dataset
    from training.dataset import Dataset, Scaling

    photos = Dataset.open(write_dataset(tmp_path / "data"))
    own = Scaling((900.0, 700.0), (300.0, 200.0))
    scenes = replace(photos, data_type="uint16", bands=("nir", "red"), scaling=own)
    assert preset_of("lite0").scale(photos) == Scaling((127.0,) * 3, (128.0,) * 3)
    assert preset_of("lite0").scale(scenes) == Scaling((900.0, 700.0), (600.0, 400.0))
    assert preset_of("unet").scale(scenes) == own
    assert preset_of("course").scale(scenes) == Scaling((0.0, 0.0), (1.0, 1.0))


def test_the_lite_presets_keep_the_recipe_of_the_shipped_model():
    from training.fit import FitPlan

    for name in ("lite0", "lite1", "lite2"):
        assert preset_of(name).plan == FitPlan()
    plan = FitPlan()
    assert (plan.rate, plan.encoder_rate, plan.warm_up, plan.averaging) == (1.5e-3, 0.3, 0.04, 0.99)
    assert (plan.optimizer, plan.schedule, plan.keep) == ("adamw", "cosine", "mean_iou")


def _trainable(model):
    return {weight.path.split("/")[0] for weight in model.trainable_weights}


@pytest.mark.parametrize("name", ["course", "unet", "lite0"])
def test_freezing_stages_keeps_the_first_ones_and_freezing_the_encoder_all(name):
    preset = preset_of(name)
    network = Network(1, **SMALL.get(name, {}))
    model = preset.network(network)
    before = _trainable(model)
    assert freeze(model, preset, "none") == 0
    assert _trainable(model) == before
    assert freeze(model, preset, "2") > 0
    part = _trainable(model)
    gone = before - part
    assert gone
    assert {preset.stage_of(layer) for layer in gone} == {1, 2}
    assert min(preset.stage_of(n) for n in part if n.startswith("encoder_")) == 3
    freeze(model, preset, "encoder")
    assert {n for n in before if not n.startswith("encoder_")} == _trainable(model)


@pytest.mark.parametrize("what", ["decoder", "-1", "0", "1.5", ""])
def test_what_cannot_be_frozen_is_refused(what):
    with pytest.raises(JobError, match="freeze"):
        freeze(None, preset_of("unet"), what)


def test_unknown_presets_and_choices_that_a_preset_has_not_are_refused_by_name():
    with pytest.raises(JobError, match="preset 'segformer' is unknown; there are course, unet"):
        preset_of("segformer")
    with pytest.raises(JobError, match="'lite0' has a fixed width; use course or unet"):
        preset_of("lite0").network(Network(1, width=4))
    with pytest.raises(JobError, match="'unet' has a fixed reduction"):
        preset_of("unet").network(Network(1, reduction=2))
    for wrong, message in (
        ({"head": "tanh"}, "head"),
        ({"dropout": 1.0}, "dropout"),
        ({"width": 0}, "width"),
        ({"depth": 99}, "depth"),
    ):
        with pytest.raises(JobError, match=message):
            Network(1, **wrong)
