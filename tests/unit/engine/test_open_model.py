# SPDX-License-Identifier: GPL-2.0-or-later
"""Models by name or path, and models made for the Deepness plugin."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.toy_models import write_deepness_model, write_toy_unet
from unet_segmenter.engine.errors import ModelError
from unet_segmenter.engine.model_card import ModelCard
from unet_segmenter.engine.model_library import ModelLibrary
from unet_segmenter.engine.open_model import open_model

NO_LIBRARY = ModelLibrary(())
SEGMENTOR = {"model_type": json.dumps("Segmentor")}


def opened(path: Path) -> ModelCard:
    return open_model(str(path), NO_LIBRARY)


def test_a_deepness_model_opens_with_the_meaning_of_its_metadata(tmp_path: Path) -> None:
    card = opened(write_deepness_model(tmp_path / "soil.onnx"))
    assert (card.name, card.activation, card.fixed_size) == ("soil", "softmax", 64)
    assert [(c.value, c.name, c.channel, c.threshold) for c in card.classes] == [
        (1, "dark", 0, 0.5),
        (2, "light", 1, 0.5),
    ]
    assert (card.input.mean, card.input.stddev) == ((127.5,) * 3, (63.75,) * 3)
    assert card.input.gsd_range == (0.125, 0.5)


@pytest.mark.parametrize("side", [32, 48, 64, 100, 250, 256, 512])
def test_a_fixed_window_of_any_side_leaves_room_between_halos(tmp_path: Path, side: int) -> None:
    card = opened(write_deepness_model(tmp_path / "soil.onnx", side=side))
    assert card.fixed_size == side
    assert side % card.divisor == 0
    assert 0.07 * side <= card.halo < side / 2


def test_a_deepness_model_of_one_channel_tells_one_class(tmp_path: Path) -> None:
    card = opened(write_deepness_model(tmp_path / "soil.onnx", classes=1))
    assert (card.activation, [(c.value, c.name) for c in card.classes]) == (
        "sigmoid",
        [(1, "light")],
    )


def test_a_deepness_model_without_a_fixed_window_takes_any(tmp_path: Path) -> None:
    assert opened(write_deepness_model(tmp_path / "soil.onnx", side=None)).fixed_size is None


def test_an_onnx_file_beside_its_card_is_the_cards_model(toy_unet: Path) -> None:
    assert opened(toy_unet / "model.onnx").name == "toy_unet"


def test_an_onnx_file_beside_a_foreign_card_is_judged_by_itself(tmp_path: Path) -> None:
    folder = write_toy_unet(tmp_path / "toy")
    write_deepness_model(folder / "soil.onnx")
    assert opened(folder / "soil.onnx").name == "soil"


def test_a_models_name_wins_over_a_folder_of_that_name_here(
    toy_unet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "toy_unet").mkdir()
    monkeypatch.chdir(tmp_path)
    assert open_model("toy_unet", ModelLibrary((toy_unet.parent,))).folder == toy_unet


def test_bare_weights_are_refused_with_the_remedy(toy_unet: Path, tmp_path: Path) -> None:
    shutil.copy(toy_unet / "model.onnx", tmp_path / "bare.onnx")
    with pytest.raises(ModelError, match=r"bare\.onnx.*give a folder with a card"):
        opened(tmp_path / "bare.onnx")


@pytest.mark.parametrize(
    ("metadata", "word"),
    [
        ({}, "Deepness"),
        ({"model_type": json.dumps("Detector")}, "Deepness"),
        ({**SEGMENTOR, "standardization_std": json.dumps([0, 0, 0])}, "stddev"),
        ({**SEGMENTOR, "standardization_mean": json.dumps("grey")}, "standardization_mean"),
        ({**SEGMENTOR, "tiles_overlap": json.dumps("wide")}, "tiles_overlap"),
        ({**SEGMENTOR, "tiles_overlap": json.dumps(150)}, "halo"),
        ({**SEGMENTOR, "class_names": json.dumps({"first": "dark"})}, "class_names"),
        ({**SEGMENTOR, "class_names": json.dumps({0: "a\x01", 1: "b"})}, "U+0001"),
        ({**SEGMENTOR, "tiles_overlap": "1e999"}, "tiles_overlap"),
        ({**SEGMENTOR, "class_names": "{" * 9000}, "class_names"),
        ({**SEGMENTOR, "seg_thresh": json.dumps(50)}, "threshold"),
    ],
)
def test_deepness_metadata_that_make_no_sense_are_refused(
    tmp_path: Path, metadata: dict[str, str], word: str
) -> None:
    path = write_deepness_model(tmp_path / "soil.onnx", metadata=metadata)
    with pytest.raises(ModelError) as refused:
        opened(path)
    message = str(refused.value)
    assert word in message
    assert "soil.onnx" in message
    assert "\n" not in message


@pytest.mark.parametrize("key", ["class_names", "names"])
@pytest.mark.parametrize(
    "text",
    [
        '{"0": "water", "1": "a, b", "2": "forest"}',
        "{0: 'water', 1: 'a, b', 2: 'forest'}",
        '["water", "a, b", "forest"]',
        "['water', 'a, b', 'forest']",
        "('water', 'a, b', 'forest')",
        "[{0: 'water', 1: 'a, b', 2: 'forest'}]",
    ],
)
def test_class_names_come_as_json_or_as_a_literal_of_python(tmp_path, key, text) -> None:
    path = write_deepness_model(
        tmp_path / "soil.onnx", classes=3, metadata={"model_type": "segmentor", key: text}
    )
    named = [(one.value, one.name, one.threshold) for one in opened(path).classes]
    assert named == [(1, "water", 0.0), (2, "a, b", 0.0), (3, "forest", 0.0)]


@pytest.mark.parametrize("names", ["{1: 'a', 2: 'b', 3: 'c'}", "['a', 'b', 'c', 'd']"])
def test_names_of_channels_that_are_not_there_are_refused(tmp_path, names) -> None:
    path = write_deepness_model(
        tmp_path / "soil.onnx", classes=3, metadata={**SEGMENTOR, "class_names": names}
    )
    with pytest.raises(ModelError, match="names a class 3, but its channels are 0 to 2"):
        opened(path)


@pytest.mark.parametrize(("side", "divisor"), [(None, 64), (512, 64), (256, 64), (128, 32)])
def test_the_divisor_is_that_of_the_coarsest_layer(tmp_path, side, divisor) -> None:
    path = write_deepness_model(tmp_path / "soil.onnx", side=side, stride=64)
    assert opened(path).divisor == divisor  # of 128 px a divisor of 64 would leave nothing


def test_a_divisor_in_the_metadata_counts(tmp_path) -> None:
    path = write_deepness_model(
        tmp_path / "soil.onnx", side=None, metadata={**SEGMENTOR, "divisor": "128"}
    )
    assert opened(path).divisor == 128


def test_several_outputs_are_refused_and_named(tmp_path) -> None:
    path = write_deepness_model(tmp_path / "soil.onnx", outputs=2)
    with pytest.raises(ModelError, match=r"has 2 outputs \(probability, logits\)") as told:
        opened(path)
    code = str(told.value).split(' -c "')[1].removesuffix('"')
    kept = tmp_path / "kept.onnx"
    subprocess.run(
        [sys.executable, "-c", code.replace("IN", str(path)).replace("OUT", str(kept))], check=True
    )
    assert [one.name for one in opened(kept).classes] == ["dark", "light"]


def test_several_inputs_are_refused_and_named(tmp_path) -> None:
    import onnx

    path = write_deepness_model(tmp_path / "soil.onnx")
    model = onnx.load(path)
    model.graph.input.append(model.graph.input[0])
    model.graph.input[1].name = "elevation"
    onnx.save(model, path)
    with pytest.raises(ModelError, match=r"has 2 inputs \(image, elevation\)"):
        opened(path)


def test_numbers_of_classes_instead_of_probabilities_are_refused(tmp_path) -> None:
    import onnx

    path = write_deepness_model(tmp_path / "soil.onnx")
    model = onnx.load(path)
    model.graph.node[-1].attribute[0].i = onnx.TensorProto.INT64
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    onnx.save(model, path)
    with pytest.raises(ModelError, match=r"gives int64; it must .* give probabilities"):
        opened(path)


def test_bytes_cannot_be_standardised(tmp_path) -> None:
    path = write_deepness_model(tmp_path / "soil.onnx", data_type="uint8")
    with pytest.raises(ModelError, match="takes bytes, which cannot be standardised"):
        opened(path)


def test_metadata_that_are_not_utf8_are_told(tmp_path) -> None:
    path = write_deepness_model(tmp_path / "soil.onnx")
    path.write_bytes(path.read_bytes().replace(b"light", b"li\xffht"))
    with pytest.raises(ModelError, match=r"soil\.onnx has metadata that are not UTF-8"):
        opened(path)


@pytest.mark.parametrize("shape", [[3], [1, 3, 64], [1, 3, 64, 32], [1, 3, 2, 64, 64]])
def test_a_network_that_takes_no_square_images_is_refused(tmp_path: Path, shape: list[Any]) -> None:
    import onnx
    from onnx import TensorProto, helper

    info = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("image", "out")
    ]
    graph = helper.make_graph(
        [helper.make_node("Sigmoid", ["image"], ["out"])], "odd", info[:1], info[1:]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, SEGMENTOR)
    onnx.save(model, tmp_path / "odd.onnx")
    with pytest.raises(ModelError, match=r"odd\.onnx.*square"):
        opened(tmp_path / "odd.onnx")


def test_a_file_that_is_no_onnx_model_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("not a model\nat all\n")
    with pytest.raises(ModelError) as refused:
        opened(tmp_path / "text.onnx")
    assert "text.onnx" in str(refused.value)
    assert "\n" not in str(refused.value)
