# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("keras", reason="training needs keras")

from training.errors import WeightsError
from training.optimizers import to_numpy
from training.plain_unet import build_plain_unet
from training.transfer import Source, adapt_bands, first_layers, hot_start, read_source

RGB = ("red", "green", "blue")


def _model(channels=2, bands=3, width=4, depth=1, seed=1):
    import keras

    keras.utils.set_random_seed(seed)
    return build_plain_unet(channels, bands, width, depth)


def _arrays(model):
    return {
        layer.name: [to_numpy(weight) for weight in layer.weights]
        for layer in model.layers
        if layer.weights
    }


def _source(model, bands=RGB, classes=("grass", "road"), head="sigmoid", path="other"):
    return Source(path, _arrays(model), bands, classes, head)


def _start(model, source, bands=RGB, classes=("grass", "road"), head="sigmoid"):
    lines = []
    return hot_start(model, source, bands, classes, head, lines.append), lines


def test_the_same_network_begins_with_all_weights_of_the_other():
    other, model = _model(), _model(seed=2)
    told, lines = _start(model, _source(other))
    assert not told.adapted
    assert not told.fresh
    image = np.random.default_rng(0).normal(0, 1, (1, 8, 8, 3)).astype(np.float32)
    assert np.array_equal(model.predict_on_batch(image), other.predict_on_batch(image))
    assert lines == [f"{len(told.whole)} layers begin with the weights of other, 0 with a part of "
                     "them, 0 fresh"]  # fmt: skip


def test_a_head_of_other_classes_keeps_those_of_the_same_name_and_tells_it():
    other, model = _model(), _model(3, seed=2)
    before = _arrays(model)["head_conv"]
    told, lines = _start(model, _source(other), classes=("road", "water", "grass"))
    kernel, bias = _arrays(model)["head_conv"]
    old_kernel, old_bias = _arrays(other)["head_conv"]
    assert np.array_equal(kernel[..., [0, 2]], old_kernel[..., [1, 0]])
    assert np.array_equal(bias[[0, 2]], old_bias[[1, 0]])
    assert np.array_equal(kernel[..., 1], before[0][..., 1])
    assert told.adapted == ("head_conv",)
    assert "layer head_conv: classes kept: road, grass; fresh: water" in lines


def test_classes_in_another_order_are_matched_by_name_though_the_shapes_agree():
    other, model = _model(), _model(seed=2)
    _start(model, _source(other), classes=("road", "grass"))
    found, old = _arrays(model)["head_conv"], _arrays(other)["head_conv"]
    assert np.array_equal(found[0], old[0][..., ::-1])


def test_a_head_without_a_common_class_begins_fresh_and_the_rest_is_carried_over():
    other, model = _model(), _model(1, seed=2)
    before = _arrays(model)["head_conv"]
    told, lines = _start(model, _source(other), classes=("water",))
    assert told.fresh == ("head_conv",)
    assert np.array_equal(_arrays(model)["head_conv"][0], before[0])
    assert any(
        "no class has the name of one of the other model's (grass, road)" in s for s in lines
    )


def test_a_softmax_head_keeps_its_channel_for_none_of_them():
    other, model = _model(3), _model(4, seed=2)
    classes = ("road", "water", "grass")
    _start(model, _source(other, head="softmax"), classes=classes, head="softmax")
    kernel, old = _arrays(model)["head_conv"][0], _arrays(other)["head_conv"][0]
    assert np.array_equal(kernel[..., [0, 1, 3]], old[..., [0, 2, 1]])


def test_heads_of_another_kind_do_not_fit_each_other():
    told, lines = _start(
        _model(3, seed=2), _source(_model(2)), classes=("grass", "road"), head="softmax"
    )
    assert told.fresh == ("head_conv",)
    assert any("its head is softmax, the other model's sigmoid" in line for line in lines)


def test_bands_of_the_same_name_keep_their_kernels_and_others_get_the_mean():
    kernel = np.random.default_rng(1).normal(0, 1, (3, 3, 3, 5)).astype(np.float32)
    adapted, told = adapt_bands(kernel, RGB, ("nir", "red", "green", "blue"))
    assert adapted.shape == (3, 3, 4, 5)
    assert np.allclose(adapted[:, :, 1:] * 4 / 3, kernel)
    assert np.allclose(adapted[:, :, 0] * 4 / 3, kernel.mean(axis=2))
    assert "kept red from red, green from green, blue from blue; from the mean nir" in told


@pytest.mark.parametrize("bands", [("grey",), ("a", "b", "c", "d", "e")])
def test_an_image_equal_in_all_bands_gives_what_it_gave_before(bands):
    kernel = np.random.default_rng(1).normal(0, 1, (3, 3, 3, 5)).astype(np.float32)
    adapted, _told = adapt_bands(kernel, RGB, bands)
    assert adapted.shape[2] == len(bands)
    assert np.allclose(adapted.sum(axis=2), kernel.sum(axis=2), atol=1e-5)


def test_other_bands_change_the_first_layer_only():
    other, model = _model(), _model(bands=4, seed=2)
    told, lines = _start(model, _source(other), bands=(*RGB, "nir"))
    assert told.adapted == ("encoder_stage1_a_conv",)
    assert not told.fresh
    assert lines[0].startswith("layer encoder_stage1_a_conv: bands red, green, blue became")
    found = _arrays(model)["encoder_stage1_a_conv"][0]
    old = _arrays(other)["encoder_stage1_a_conv"][0]
    assert np.allclose(found[:, :, :3] * 4 / 3, old)


def test_bands_in_another_order_are_matched_by_name():
    other, model = _model(), _model(seed=2)
    told, _lines = _start(model, _source(other), bands=("blue", "green", "red"))
    found = _arrays(model)["encoder_stage1_a_conv"][0]
    assert np.allclose(found, _arrays(other)["encoder_stage1_a_conv"][0][:, :, ::-1])
    assert told.adapted == ("encoder_stage1_a_conv",)


def test_the_first_layers_are_those_that_read_the_image():
    from training.course_unet import build_course_unet

    assert first_layers(_model()) == {"encoder_stage1_a_conv"}
    assert first_layers(build_course_unet(1, 3, 2)) == {
        "encoder_stage1_a_conv", "encoder_stage1_shortcut_conv",
    }  # fmt: skip


def test_a_deeper_network_begins_fresh_where_the_other_has_no_layer():
    told, lines = _start(_model(depth=2, seed=2), _source(_model()))
    assert any("decoder2_a_conv: begins fresh, the other model has no such layer" in s
               for s in lines)  # fmt: skip
    assert "encoder_stage1_a_conv" in told.whole


def test_a_model_of_another_kind_is_refused():
    from training.course_unet import build_course_unet

    source = _source(build_course_unet(2, 3, 2))
    with pytest.raises(WeightsError, match="none of its layers fits this network"):
        _start(_model(), Source("x", {"a": source.arrays["bridge_a_conv"]}, RGB, (), "sigmoid"))


def test_what_is_no_model_is_told_by_its_path(tmp_path):
    with pytest.raises(WeightsError, match="no weights to start from"):
        read_source(tmp_path)
    broken = tmp_path / "broken.keras"
    broken.write_bytes(b"no zip at all")
    with pytest.raises(WeightsError, match=r"broken\.keras: cannot be read as a Keras model"):
        read_source(broken)
    (tmp_path / "best.weights.h5").write_bytes(b"nothing")
    (tmp_path / "network.json").write_text("{")
    with pytest.raises(WeightsError, match="the run's weights cannot be read"):
        read_source(tmp_path)


def test_a_run_s_folder_gives_its_best_weights_with_bands_and_classes(tmp_path):
    model = _model()
    model.save_weights(tmp_path / "best.weights.h5")
    told = {
        "preset": "unet", "bands": RGB, "classes": ["grass", "road"], "head": "sigmoid",
        "network": {"classes": 2, "bands": 3, "width": 4, "depth": 1},
    }  # fmt: skip
    (tmp_path / "network.json").write_text(json.dumps(told))
    source = read_source(tmp_path)
    assert source.bands == RGB
    assert source.classes == ("grass", "road")
    assert np.array_equal(source.arrays["head_conv"][0], _arrays(model)["head_conv"][0])


def test_a_keras_file_gives_its_weights(tmp_path):
    model = _model()
    model.save(tmp_path / "some.keras")
    source = read_source(tmp_path / "some.keras")
    told, _lines = _start(_model(seed=2), source)
    assert "encoder_stage1_a_conv" in told.whole
    assert told.fresh == ("head_conv",)  # of which nobody knows what its channels stand for


def test_the_shipped_model_can_be_started_from(repository):
    source = read_source(repository / "resources" / "models" / "aeroscapes")
    assert "vegetation" in source.classes
    assert source.bands == RGB
    assert source.arrays["head_conv"][0].shape[-1] == len(source.classes)
