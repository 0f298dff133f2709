# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="training needs tensorflow")
pytest.importorskip("openvino", reason="networks are run in parts by OpenVINO")

from training.cuts import find_cuts, with_halos
from training.fold import fold
from training.graph import divisor_of, theoretical_halo
from training.halo import mirrored
from training.onnx_writer import write_onnx
from training.parts_proof import in_parts, proven_cuts
from training.whole_and_tiled import OpenModel, calibrated, whole
from unet_segmenter.engine.model_card import ModelCard, ModelFile, sha256_of

SHIPPED = "resources/models/aeroscapes"


def _lite(deepest_stride: int, reduction: int):
    from training.unet import build_unet, with_sigmoid

    model = fold(with_sigmoid(build_unet(6, "lite0", deepest_stride, reduction)))
    rng = np.random.default_rng(2)
    for weight in model.weights:  # so lively that every path through the network shows
        spread = 0.2
        if len(weight.shape) == 4:
            depthwise = "depth" in weight.path
            spread = (2.5 / np.prod(weight.shape[: 2 if depthwise else 3])) ** 0.5
        weight.assign(rng.normal(0, spread, weight.shape))
    return model


@pytest.mark.parametrize("reduction", [1, 2])
@pytest.mark.parametrize(
    ("deepest_stride", "deep"),
    [(16, [("encoder_block4_add", "decoder16_a_relu")]),
     (32, [("encoder_block4_add", "encoder_block10_add"),
           ("encoder_block10_add", "decoder32_a_relu"),
           ("encoder_block10_add", "decoder16_b_relu")])],
)  # fmt: skip
def test_the_pretrained_networks_are_cut_where_they_are_narrow(deepest_stride, reduction, deep):
    cuts = find_cuts(_lite(deepest_stride, reduction))
    assert cuts.image.name == ("image" if reduction == 1 else "reduce")
    assert cuts.doublings == reduction
    found = [(part.inputs[0], part.outputs[-1].name) for part in cuts.parts]
    assert found == [
        (cuts.image.name, "encoder_block2_add"),
        ("encoder_block2_add", "encoder_block4_add"),
        *deep,
        ("encoder_block4_add", "decoder8_b_relu"),
        ("encoder_block0_project_conv", "head_conv"),
    ]
    assert [f.channels for f in cuts.parts[0].outputs] == [16, 24]
    assert cuts.divisor == deepest_stride * reduction
    total = sum(part.halo for part in cuts.parts)
    reach = theoretical_halo(_lite(deepest_stride, reduction), cuts.divisor)
    assert reach * 0.9 <= total <= reach + len(cuts.parts) * cuts.divisor


def test_networks_without_low_resolution_logits_are_not_cut():
    from training.course_unet import build_course_unet
    from training.export import with_head
    from training.plain_unet import build_plain_unet

    assert find_cuts(fold(with_head(build_course_unet(1, base=1), "sigmoid"))) is None
    assert find_cuts(fold(with_head(build_plain_unet(2, width=2, depth=2), "sigmoid"))) is None


def test_less_context_is_left_to_the_deep_parts_only():
    cuts = find_cuts(_lite(16, 2))
    halos = [part.halo for part in cuts.parts]
    assert [part.halo for part in with_halos(cuts, 0.5).parts] == [
        *halos[:2], 160, *halos[3:]
    ]  # fmt: skip


@pytest.fixture(params=[(16, 1), (16, 2), (32, 1), (32, 2)], ids=str)
def lite(request, repository, tmp_path) -> ModelCard:
    """A network with all the context of its parts, as a model with the card of a shipped one."""
    model = _lite(*request.param)
    write_onnx(model, tmp_path / "model.onnx", half=False)
    path = tmp_path / "model.onnx"
    divisor = divisor_of(model)
    halo = theoretical_halo(model, divisor)
    return replace(
        ModelCard.load(repository / SHIPPED), folder=tmp_path, divisor=divisor, halo=halo,
        theoretical_halo=halo, cuts=find_cuts(model),
        files=(ModelFile(path.name, "onnx", "nchw", sha256_of(path), path.stat().st_size),),
    )  # fmt: skip


def test_parts_with_all_their_context_equal_one_pass(lite):
    rng = np.random.default_rng(0)
    image = mirrored(rng.integers(0, 256, (500, 380, 3)).astype(np.uint8), 600)[:577, :481]
    exact = whole(calibrated(OpenModel(lite, "openvino"), lite), image, lite)
    assert exact.std() > 0.05
    for side in (192, 100):
        assert np.abs(in_parts(lite, image, side) - exact).max() < 1e-3, side
    blind = replace(lite, cuts=with_halos(lite.cuts, 0))
    assert np.abs(in_parts(blind, image, 100) - exact).max() > 0.01


def test_parts_with_too_little_context_get_more_until_nothing_shows(repository):
    from training.export import load_network

    said: list[str] = []
    card = ModelCard.load(repository / SHIPPED)
    image = np.random.default_rng(1).integers(0, 256, (128, 128, 3)).astype(np.uint8)
    network = calibrated(OpenModel(card, "openvino"), card)
    model = load_network(card.folder / "model.keras")
    entries = proven_cuts(model, network, replace(card, halo=300), [image], said.append)
    assert len(said) > 1
    assert entries["parts_versus_whole"]["largest_difference"] <= 0.5 / 254
    assert max(part["halo"] for part in entries["cuts"]["parts"]) > 224


@pytest.mark.parametrize("name", ["aeroscapes", "semantic-drone"])
def test_the_shipped_networks_are_cut_as_their_cards_say(repository, name):
    from training.export import load_network

    card = ModelCard.load(repository / "resources" / "models" / name)
    found = find_cuts(load_network(card.folder / "model.keras"))
    told = [replace(part, halo=0) for part in card.cuts.parts]
    assert told == [replace(part, halo=0) for part in found.parts]
    for part, largest in zip(card.cuts.parts, found.parts, strict=True):
        assert part.halo <= largest.halo
    assert card.details["parts_versus_whole"]["largest_difference"] <= 0.5 / 254
    assert card.details["parts_versus_whole"]["mask_agreement"] >= 0.9999


def test_the_command_adds_cuts_to_a_card_and_leaves_the_rest(repository, tmp_path, capsys):
    from PIL import Image

    from training.__main__ import main

    folder = tmp_path / "model"
    shutil.copytree(repository / SHIPPED, folder)
    before = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    bare = {k: v for k, v in before.items() if k not in ("cuts", "parts_versus_whole")}
    (folder / "card.json").write_text(json.dumps(bare), encoding="utf-8")
    pixels = np.random.default_rng(3).integers(0, 256, (40, 50, 3)).astype(np.uint8)
    pictures = [_saved(Image.fromarray(pixels), tmp_path / f"{k}.png") for k in range(2)]
    assert main(["recut", str(folder), *pictures, "--proofs", "1"]) == 0
    assert "against one pass" in capsys.readouterr().out
    after = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    assert after.pop("parts_versus_whole")["images"] == 1
    assert [p["inputs"] for p in after.pop("cuts")["parts"]] == [
        p["inputs"] for p in before["cuts"]["parts"]
    ]
    assert after == bare


def _saved(image, path: Path) -> str:
    image.save(path)
    return str(path)
