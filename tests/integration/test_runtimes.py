# SPDX-License-Identifier: GPL-2.0-or-later
"""Every runtime gives the same map, and so does every way to feed it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from tests.toy_jobs import WatchingProgress, count_windows, segment
from tests.toy_models import write_card, write_deepness_model, write_toy_unet
from tests.toy_rasters import read_raster, texture, write_raster
from unet_segmenter.engine.errors import JobError, ModelError, RuntimeMissingError
from unet_segmenter.engine.model_card import ModelCard
from unet_segmenter.engine.predictor import RUNTIMES, available_cores


def processor_has_bf16() -> bool:
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_raster(tmp_path / "in.tif", texture(100, 130))


def test_runtimes_agree(source: Path, toy_unet: Path, tmp_path: Path) -> None:
    maps = {}
    for runtime in ("openvino", "onnxruntime"):
        probability = tmp_path / f"{runtime}.tif"
        result = segment(
            source,
            tmp_path / "m.tif",
            toy_unet,
            runtime=runtime,
            precision="f32",
            block_size=64,
            probability=probability,
            probability_type="float32",
        )
        assert (result.runtime, result.precision) == (runtime, "f32")
        with rasterio.open(tmp_path / "m.tif") as raster:
            assert raster.tags()["UNET_SEGMENTER_RUNTIME"] == runtime
        maps[runtime] = read_raster(probability)
    np.testing.assert_allclose(maps["openvino"], maps["onnxruntime"], atol=1e-4)


def test_auto_takes_the_first_runtime_that_reads_the_model(
    source: Path, toy_unet: Path, tmp_path: Path
) -> None:
    assert segment(source, tmp_path / "m.tif", toy_unet).runtime == next(iter(RUNTIMES))


@pytest.mark.parametrize("batch", [2, 3, 7])
def test_batches_give_the_masks_of_single_blocks(
    batch: int,
    source: Path,
    toy_unet: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    segment(source, tmp_path / "one.tif", toy_unet, block_size=32, precision="f32")
    shapes = count_windows(monkeypatch)
    segment(source, tmp_path / "many.tif", toy_unet, block_size=32, precision="f32", batch=batch)
    assert {shape[0] for shape in shapes} == {batch}
    assert np.array_equal(read_raster(tmp_path / "one.tif"), read_raster(tmp_path / "many.tif"))


def test_flips_cost_four_calls_a_block(
    source: Path, toy_unet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes = count_windows(monkeypatch)
    result = segment(source, tmp_path / "m.tif", toy_unet, tta=True, block_size=64)
    assert len(shapes) == 4 * result.blocks


def test_equal_runs_give_equal_bytes(source: Path, toy_unet: Path, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        segment(
            source,
            tmp_path / folder / "m.tif",
            toy_unet,
            block_size=32,
            probability=tmp_path / folder / "p.tif",
        )
    for name in ("m.tif", "p.tif", "m.qml", "m.tif.aux.xml"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_bf16_runs_where_the_processor_has_it_and_is_refused_elsewhere(
    source: Path, toy_unet: Path, tmp_path: Path
) -> None:
    options = {"precision": "bf16", "probability": tmp_path / "p16.tif"}
    if not processor_has_bf16():
        with pytest.raises(JobError, match="does not compute in bf16; choose precision"):
            segment(source, tmp_path / "m.tif", toy_unet, **options)
        assert sorted(p.name for p in tmp_path.iterdir()) == ["in.tif"]
        return
    assert segment(source, tmp_path / "m.tif", toy_unet, **options).precision == "bf16"
    segment(source, tmp_path / "m.tif", toy_unet, precision="f32", probability=tmp_path / "p.tif")
    steps = np.abs(
        read_raster(tmp_path / "p.tif").astype(int) - read_raster(tmp_path / "p16.tif").astype(int)
    )
    assert 0 < steps.max() <= 0.1 * 254, "it is another arithmetic, and close to f32"


def test_auto_takes_bf16_only_for_a_model_whose_card_measured_it(
    source: Path, tmp_path: Path
) -> None:
    model = write_toy_unet(tmp_path / "toy")
    assert segment(source, tmp_path / "m.tif", model).precision == "f32"
    write_card(model, precision={"bf16": {"largest_difference": 0.01, "mask_agreement": 0.9999}})
    expected = "bf16" if processor_has_bf16() else "f32"
    assert segment(source, tmp_path / "m.tif", model).precision == expected


def test_a_precision_that_a_runtime_lacks_is_refused(
    source: Path, toy_unet: Path, tmp_path: Path
) -> None:
    with pytest.raises(JobError, match="onnxruntime does not run at precision bf16"):
        segment(source, tmp_path / "m.tif", toy_unet, runtime="onnxruntime", precision="bf16")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.tif"]


def test_a_runtime_without_a_file_for_it_is_refused(
    source: Path, toy_unet: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="no keras file, which the runtime tensorflow needs"):
        segment(source, tmp_path / "m.tif", toy_unet, runtime="tensorflow")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.tif"]


def test_a_runtime_that_is_not_installed_is_told_and_auto_goes_on_to_the_next(
    source: Path, toy_unet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    with pytest.raises(RuntimeMissingError, match="openvino is not installed"):
        segment(source, tmp_path / "m.tif", toy_unet, runtime="openvino")
    assert segment(source, tmp_path / "m.tif", toy_unet).runtime == "onnxruntime"


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("classes", [1, 2, 3])
def test_a_deepness_model_runs_as_it_is(
    classes: int, runtime: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = texture(150, 90)
    source = write_raster(tmp_path / "in.tif", pixels)
    model = write_deepness_model(tmp_path / "soil.onnx", classes=classes)
    shapes = count_windows(monkeypatch)
    segment(source, tmp_path / "m.tif", model, runtime=runtime)
    assert {shape[1:3] for shape in shapes} == {(64, 64)}
    # By hand: Deepness scales to (value / 255 - mean) / std, and channel k has slope k.
    feature = ((pixels / 255 - 0.5) / 0.25).mean(axis=-1)
    if classes == 1:
        expected = (feature > 0).astype(np.uint8)
        clear = np.abs(feature) > 1e-3
    else:
        slopes = np.linspace(-8, 8, classes)
        scores = np.exp(feature[..., np.newaxis] * slopes)
        scores /= scores.sum(axis=-1, keepdims=True)
        expected = np.where(scores.max(axis=-1) >= 0.5, scores.argmax(axis=-1) + 1, 0)
        top = np.sort(scores, axis=-1)
        clear = (np.abs(top[..., -1] - 0.5) > 1e-3) & (top[..., -1] - top[..., -2] > 1e-3)
    mask = read_raster(tmp_path / "m.tif")[0]
    assert clear.mean() > 0.9
    assert np.array_equal(mask[clear], expected[clear])


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
@pytest.mark.parametrize(
    "form",
    [
        {"data_type": "float16", "classes": 3},
        {"data_type": "uint8", "classes": 3},
        {"flat": True, "classes": 1},
        {"batch": 3, "classes": 2},
    ],
    ids=str,
)
def test_a_deepness_model_of_any_form_gives_the_map_of_the_plain_one(
    form: dict[str, Any], runtime: str, tmp_path: Path
) -> None:
    source = write_raster(tmp_path / "in.tif", texture(100, 90))
    model = write_deepness_model(tmp_path / "plain.onnx", classes=form["classes"])
    segment(source, tmp_path / "plain.tif", model, runtime=runtime)
    bytes_alone = {"model_type": '"Segmentor"', "seg_thresh": "0.5"}
    items = bytes_alone if form.get("data_type") == "uint8" else None
    model = write_deepness_model(tmp_path / "form.onnx", metadata=items, **form)
    segment(source, tmp_path / "form.tif", model, runtime=runtime)
    masks = [read_raster(tmp_path / f"{name}.tif") for name in ("plain", "form")]
    assert len(np.unique(masks[0])) > 1
    assert (masks[0] == masks[1]).mean() > 0.995  # half floats turn pixels on a border


@pytest.mark.parametrize(("threshold", "value"), [("0.5", 0), (None, 3)])
def test_where_no_class_of_a_deepness_model_is_sure_the_pixel_is_unknown(
    threshold: str | None, value: int, tmp_path: Path
) -> None:
    """Scores of .30 .30 .40: unknown under a threshold of .5, else the third class."""
    import onnx
    from onnx import helper, numpy_helper

    items = {"model_type": "Segmentor", "class_names": "{0: 'water', 1: 'road', 2: 'forest'}"}
    model = write_deepness_model(
        tmp_path / "three.onnx", classes=3,
        metadata={**items, **({"seg_thresh": threshold} if threshold else {})},
    )  # fmt: skip
    graph = onnx.load(model)
    bias = numpy_helper.from_array(np.log(np.array([0.3, 0.3, 0.4], np.float32)), "b")
    kernel = numpy_helper.from_array(np.zeros((3, 3, 1, 1), np.float32), "w")
    graph.graph.initializer[0].CopyFrom(kernel)
    graph.graph.initializer.append(bias)
    convolution = next(node for node in graph.graph.node if node.op_type == "Conv")
    convolution.CopyFrom(
        helper.make_node("Conv", ["numbers", "w", "b"], ["logits"], kernel_shape=[1, 1])
    )
    onnx.save(graph, model)
    source = write_raster(tmp_path / "in.tif", texture(64, 64))
    result = segment(source, tmp_path / "m.tif", model)
    assert set(np.unique(read_raster(tmp_path / "m.tif"))) == {value}
    named = {area.value: area.name for area in result.areas}
    assert named[value] == ("forest" if value else "unknown")
    assert [named[k] for k in (1, 2, 3)] == ["water", "road", "forest"]


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_a_model_that_fails_while_it_runs_is_told_in_one_sentence(
    runtime: str, tmp_path: Path
) -> None:
    import onnx
    from onnx import numpy_helper

    folder = write_toy_unet(tmp_path / "toy")
    model = onnx.load(folder / "model.onnx")
    for tensor in model.graph.initializer:
        if tensor.name == "twice":  # skips and upsampled layers differ in size from now on
            tensor.CopyFrom(numpy_helper.from_array(np.array([1, 1, 3, 3], np.float32), "twice"))
    onnx.save(model, folder / "model.onnx")
    write_card(folder)
    source = write_raster(tmp_path / "in.tif", texture(64, 64))
    with pytest.raises(ModelError, match=r"model\.onnx.* images|windows of") as told:
        segment(source, tmp_path / "m.tif", folder, runtime=runtime)
    assert "\n" not in str(told.value)


def test_one_class_of_several_gives_a_binary_mask_of_its_channel(
    source: Path, toy_unet: Path, tmp_path: Path
) -> None:
    segment(source, tmp_path / "all.tif", toy_unet, probability=tmp_path / "p.tif")
    result = segment(
        source,
        tmp_path / "road.tif",
        toy_unet,
        classes=("road",),
        threshold=0.3,
        probability=tmp_path / "q.tif",
    )
    road = read_raster(tmp_path / "q.tif")
    assert np.array_equal(road[0], read_raster(tmp_path / "p.tif")[1])
    mask = read_raster(tmp_path / "road.tif")[0]
    assert set(np.unique(mask)) == {0, 1}
    clear = np.abs(road[0] / 254 - 0.3) > 1 / 254
    assert np.array_equal(mask[clear], (road[0] / 254 > 0.3)[clear])
    assert [(a.value, a.name) for a in result.areas] == [(0, "not road"), (1, "road")]


def test_a_damaged_network_with_a_matching_hash_is_refused_in_one_line(
    source: Path, tmp_path: Path
) -> None:
    model = write_toy_unet(tmp_path / "toy")
    weights = (model / "model.onnx").read_bytes()
    (model / "model.onnx").write_bytes(weights[: len(weights) // 2])
    write_card(model)
    for runtime in ("openvino", "onnxruntime"):
        with pytest.raises(ModelError) as refused:
            segment(source, tmp_path / "m.tif", model, runtime=runtime)
        assert "model.onnx" in str(refused.value)
        assert "\n" not in str(refused.value)
        assert sorted(p.name for p in tmp_path.iterdir()) == ["in.tif", "toy"]


def test_a_card_that_names_a_channel_that_the_network_lacks_is_refused(
    source: Path, tmp_path: Path
) -> None:
    model = write_toy_unet(tmp_path / "toy")
    classes = [{"value": 1, "name": "road", "color": "#112233", "channel": 5}]
    write_card(model, output={"activation": "sigmoid", "classes": classes})
    with pytest.raises(ModelError, match="channel 5"):
        segment(source, tmp_path / "m.tif", model)
    assert not (tmp_path / "m.tif").exists()


@pytest.mark.slow
def test_the_bundled_models_keras_file_agrees_with_its_onnx_file(tmp_path: Path) -> None:
    folder = Path(__file__).resolve().parents[2] / "resources" / "models" / "aeroscapes"
    if not (folder / "card.json").is_file():
        pytest.skip(f"the bundled model is not there ({folder})")
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip("TensorFlow is not installed")
    if ModelCard.load(folder).file("keras") is None:
        pytest.skip("the model's trainable file is not there (model.keras)")
    source = write_raster(tmp_path / "in.tif", texture(200, 220))
    maps = []
    for runtime in ("onnxruntime", "tensorflow"):
        probability = tmp_path / f"{runtime}.tif"
        segment(source, tmp_path / "m.tif", folder, runtime=runtime, probability=probability)
        maps.append(read_raster(probability).astype(int))
    assert np.abs(maps[0] - maps[1]).max() <= 2


def test_progress_counts_every_block_once(source: Path, toy_unet: Path, tmp_path: Path) -> None:
    progress = WatchingProgress()
    result = segment(source, tmp_path / "m.tif", toy_unet, progress, block_size=32)
    done = [step for step, _ in progress.steps]
    assert done == sorted(done)
    assert (done[0], done[-1]) == (0, result.blocks)
    assert {total for _, total in progress.steps} == {result.blocks}


def test_this_process_has_cores_to_use() -> None:
    assert available_cores() >= 1
