# SPDX-License-Identifier: GPL-2.0-or-later
"""Files in which ONNX graphs keep weights: all of them are found, hashed, or refused."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.toy_models import write_card, write_deepness_model, write_toy_unet
from unet_segmenter.engine.errors import ModelError
from unet_segmenter.engine.model_card import ModelCard
from unet_segmenter.engine.model_library import ModelLibrary
from unet_segmenter.engine.onnx_files import external_files
from unet_segmenter.engine.open_model import open_model


def outside(name: str, location: str) -> TensorProto:
    """A tensor that lies in another file."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[1])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("offset", "0"), ("location", location)):
        tensor.external_data.add(key=key, value=value)
    return tensor


def carded(folder: Path, location: str = "weights.bin") -> Path:
    """A toy model whose weights lie in another file that its card does not name."""
    write_toy_unet(folder)
    model = onnx.load(folder / "model.onnx")
    onnx.save(
        model, folder / "model.onnx", save_as_external_data=True, location=location,
        size_threshold=0,
    )  # fmt: skip
    write_card(folder)
    return folder


def with_named_weights(folder: Path) -> Path:
    card = json.loads((folder / "card.json").read_text())
    content = (folder / "weights.bin").read_bytes()
    card["files"].append(
        {
            "name": "weights.bin", "format": "onnx-data", "dim_order": "nchw",
            "sha256": hashlib.sha256(content).hexdigest(), "size": len(content),
        }
    )  # fmt: skip
    (folder / "card.json").write_text(json.dumps(card))
    return folder


def test_a_file_of_its_own_names_no_other(toy_unet: Path) -> None:
    assert external_files(toy_unet / "model.onnx") == ()


def test_weights_are_found_wherever_a_graph_can_have_them(tmp_path: Path) -> None:
    inner = helper.make_graph([], "inner", [], [], [outside("d", "d.bin")])
    sparse = onnx.SparseTensorProto(values=outside("e", "e.bin"), indices=outside("f", "f.bin"))
    nodes = [
        helper.make_node("Constant", [], ["b"], value=outside("b", "b.bin")),
        helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner),
        helper.make_node("Constant", [], ["s"], sparse_value=sparse),
    ]
    graph = helper.make_graph(
        nodes, "all", [], [], [outside("a", "a.bin"), numpy_helper.from_array(np.zeros(99), "w")]
    )
    model = helper.make_model(graph)
    constant = helper.make_node("Constant", [], ["c"], value=outside("c", "sub/c.bin"))
    model.functions.append(
        helper.make_function("own", "f", [], ["c"], [constant], [helper.make_opsetid("", 17)])
    )
    (tmp_path / "all.onnx").write_bytes(model.SerializeToString())
    found = external_files(tmp_path / "all.onnx")
    assert found == ("a.bin", "b.bin", "d.bin", "e.bin", "f.bin", "sub/c.bin")


@pytest.mark.parametrize("content", [b"", b"\x3a", b"\x3a\xff\xff\xff\xff\xff", b"\x3b" * 9])
def test_what_is_no_onnx_file_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "odd.onnx").write_bytes(content)
    with pytest.raises(ModelError, match=r"odd\.onnx is not an ONNX model that can be read"):
        external_files(tmp_path / "odd.onnx")


def test_weights_that_the_card_does_not_name_are_refused(tmp_path: Path) -> None:
    card = ModelCard.load(carded(tmp_path / "toy"))
    with pytest.raises(ModelError, match=r"in weights\.bin, of which its card has") as told:
        card.checked_path(card.files[0])
    content = json.loads((card.folder / "card.json").read_text())
    content["files"].append(json.loads(str(told.value).partition("card.json: ")[2]))
    (card.folder / "card.json").write_text(json.dumps(content))
    mended = ModelCard.load(card.folder)
    assert mended.checked_path(mended.files[0]) == card.folder / "model.onnx"


def test_weights_that_the_card_names_are_hashed(tmp_path: Path) -> None:
    folder = with_named_weights(carded(tmp_path / "toy"))
    card = ModelCard.load(folder)
    assert card.checked_path(card.files[0]) == folder / "model.onnx"
    weights = folder / "weights.bin"
    weights.write_bytes(weights.read_bytes()[::-1])
    with pytest.raises(ModelError, match=r"weights\.bin is not the file that its card describes"):
        card.checked_path(card.files[0])


def test_a_deepness_model_is_all_of_its_files(tmp_path: Path) -> None:
    path = write_deepness_model(tmp_path / "soil.onnx", weights_file="soil.bin")
    before = open_model(str(path), ModelLibrary(()))
    assert [file.name for file in before.files] == ["soil.onnx", "soil.bin"]
    weights = tmp_path / "soil.bin"
    weights.write_bytes(bytes(byte ^ 128 for byte in weights.read_bytes()))
    after = open_model(str(path), ModelLibrary(()))
    assert repr(before) != repr(after), "a run's signature, so none goes on with other weights"
    with pytest.raises(ModelError, match=r"soil\.bin is not the file"):
        before.checked_path(before.files[0])
    weights.unlink()
    with pytest.raises(ModelError, match=r"soil\.(bin|onnx)"):
        open_model(str(path), ModelLibrary(()))


def test_weights_in_another_folder_are_refused(tmp_path: Path) -> None:
    path = write_deepness_model(tmp_path / "here" / "soil.onnx", weights_file="soil.bin")
    (tmp_path / "here" / "sub").mkdir()
    shutil.move(tmp_path / "here" / "soil.bin", tmp_path / "here" / "sub" / "soil.bin")
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = "sub/soil.bin"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="not a plain file name"):
        open_model(str(path), ModelLibrary(()))
