# SPDX-License-Identifier: GPL-2.0-or-later
"""Small ONNX models with cards, made on the fly for tests."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CLASS_NAMES = ("vegetation", "road", "sky")
DIVISOR = 4


def write_card(folder: Path, onnx_name: str = "model.onnx", **changes: Any) -> Path:
    """A card for the ONNX file in the folder; `changes` replace top-level entries."""
    content = (folder / onnx_name).read_bytes()
    card = {
        "format": "unet-segmenter-card",
        "format_version": 1,
        "name": folder.name,
        "version": "1.0.0",
        "title": "Toy model",
        "description": "A toy for tests.",
        "license": "CC0-1.0",
        "citation": "",
        "sources": [],
        "input": {
            "bands": ["red", "green", "blue"],
            "data_type": ["uint8"],
            "value_range": [0, 255],
            "value_scaling": {"type": "z-score", "mean": [127.0] * 3, "stddev": [64.0] * 3},
            "gsd_range": None,
        },
        "output": {
            "activation": "sigmoid",
            "classes": [
                {"value": i + 1, "name": name, "color": color, "channel": i}
                for i, (name, color) in enumerate(
                    zip(CLASS_NAMES, ("#228b22", "#808080", "#87ceeb"), strict=True)
                )
            ],
        },
        "divisor": DIVISOR,
        "halo": 16,
        "theoretical_halo": 16,
        "files": [
            {
                "name": onnx_name,
                "format": "onnx",
                "dim_order": "nchw",
                "sha256": hashlib.sha256(content).hexdigest(),
                "size": len(content),
            }
        ],
        "training": {},
        "metrics": {},
        **changes,
    }
    path = folder / "card.json"
    path.write_text(json.dumps(card), encoding="utf-8")
    return path


def write_toy_unet(folder: Path, *, bands: int = 3, classes: int = 3, seed: int = 7) -> Path:
    """A random U-Net of two levels: stride-2 convolutions, nearest upsampling, skips.

    Its receptive field reaches 13 px, so its theoretical halo is 16.
    """
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    weights: list[onnx.TensorProto] = []
    nodes: list[onnx.NodeProto] = []

    def conv(source: str, name: str, cin: int, cout: int, stride: int = 1) -> str:
        kernel = random.normal(0, (2 / (9 * cin)) ** 0.5, (cout, cin, 3, 3)).astype(np.float32)
        bias = random.normal(0, 0.1, cout).astype(np.float32)
        weights.append(numpy_helper.from_array(kernel, f"{name}_w"))
        weights.append(numpy_helper.from_array(bias, f"{name}_b"))
        pads = [1, 1, 1, 1] if stride == 1 else [0, 0, 1, 1]
        nodes.append(
            helper.make_node(
                "Conv",
                [source, f"{name}_w", f"{name}_b"],
                [name],
                kernel_shape=[3, 3],
                pads=pads,
                strides=[stride, stride],
            )
        )
        return name

    def act(source: str) -> str:
        nodes.append(helper.make_node("Relu", [source], [f"{source}_relu"]))
        return f"{source}_relu"

    def up(source: str) -> str:
        nodes.append(
            helper.make_node("Resize", [source, "", "twice"], [f"{source}_up"], mode="nearest")
        )
        return f"{source}_up"

    def join(first: str, second: str) -> str:
        nodes.append(helper.make_node("Concat", [first, second], [f"{first}_cat"], axis=1))
        return f"{first}_cat"

    weights.append(numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "twice"))
    full = act(conv("image", "c0", bands, 8))
    half = act(conv(full, "c1", 8, 16, 2))
    quarter = act(conv(half, "c2", 16, 16, 2))
    half = act(conv(join(up(quarter), half), "c3", 32, 16))
    full = act(conv(join(up(half), full), "c4", 24, 8))
    conv(full, "logits", 8, classes)
    nodes.append(helper.make_node("Sigmoid", ["logits"], ["probability"]))
    _save(nodes, weights, folder / "model.onnx", bands, classes)
    names = [f"band {i}" for i in range(bands)]
    changes: dict[str, Any] = {}
    if bands != 3:
        changes["input"] = {
            "bands": names,
            "data_type": ["uint8"],
            "value_range": [0, 255],
            "value_scaling": {"type": "z-score", "mean": [127.0] * bands, "stddev": [64.0] * bands},
            "gsd_range": None,
        }
    write_card(folder, **changes)
    return folder


def write_cut_unet(folder: Path, *, seed: int = 7) -> Path:
    """A random U-Net that works at half the image's resolution, and ends with logits at stride 4.

    Its card names three parts: the way down to stride 4, what lies at stride 8, the way up.
    """
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    weights = [numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "twice")]
    nodes: list[onnx.NodeProto] = []

    def add(kind: str, inputs: list[str], name: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def conv(source: str, name: str, cin: int, cout: int, stride: int = 1) -> str:
        kernel = random.normal(0, (2 / (9 * cin)) ** 0.5, (cout, cin, 3, 3)).astype(np.float32)
        bias = random.normal(0, 0.1, cout).astype(np.float32)
        weights.append(numpy_helper.from_array(kernel, f"{name}_w"))
        weights.append(numpy_helper.from_array(bias, f"{name}_b"))
        pads = [1, 1, 1, 1] if stride == 1 else [0, 0, 1, 1]
        strides = {"kernel_shape": [3, 3], "pads": pads, "strides": [stride, stride]}
        return add("Conv", [source, f"{name}_w", f"{name}_b"], name, **strides)

    def doubled(source: str) -> str:
        up = add("Resize", [source, "", "twice"], f"{source}_up", mode="nearest")
        smooth = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 0}
        return add("AveragePool", [up], f"{source}_smooth", **smooth)

    half = add("AveragePool", ["image"], "reduce", kernel_shape=[2, 2], strides=[2, 2])
    fine = add("Relu", [conv(half, "down4_conv", 3, 8, 2)], "down4")
    deep = add("Relu", [conv(fine, "down8_conv", 8, 16, 2)], "down8")
    deep = add("Relu", [conv(deep, "deep_conv", 16, 16)], "deep")
    up = add("Resize", [deep, "", "twice"], "deep_up", mode="nearest")
    joined = add("Concat", [up, fine], "joined", axis=1)
    conv(add("Relu", [conv(joined, "up4_conv", 24, 8)], "up4"), "logits", 8, 3)
    add("Sigmoid", [doubled(doubled("logits"))], "probability")
    _save(nodes, weights, folder / "model.onnx", 3, 3)
    fine_feature = {"name": "down4", "stride": 4, "channels": 8}
    deep_feature = {"name": "deep", "stride": 8, "channels": 16}
    logits = {"name": "logits", "stride": 4, "channels": 3}
    parts = [
        {"inputs": ["reduce"], "outputs": [fine_feature], "halo": 4, "divisor": 4, "width": 0.5},
        {"inputs": ["down4"], "outputs": [deep_feature], "halo": 16, "divisor": 8, "width": 0.5},
        {
            "inputs": ["down4", "deep"],
            "outputs": [logits],
            "halo": 16,
            "divisor": 8,
            "width": 1.5,
        },
    ]
    cuts = {
        "image": {"name": "reduce", "stride": 2, "channels": 3},
        "parts": parts,
        "doublings": 2,
    }
    context = {"divisor": 8, "halo": 40, "theoretical_halo": 40}
    write_card(folder, **context, cuts=cuts)
    return folder


def write_brightness_model(folder: Path, **card_changes: Any) -> Path:
    """One class, "bright": sigmoid((mean of the bands - 126.9) / 64); no halo.

    No mean of three whole numbers is 126.9, so rounding decides no pixel.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = [numpy_helper.from_array(np.full((1, 3, 1, 1), 1 / 3, np.float32), "w")]
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["logits"], kernel_shape=[1, 1]),
        helper.make_node("Sigmoid", ["logits"], ["probability"]),
    ]
    _save(nodes, weights, folder / "model.onnx", 3, 1)
    output = {
        "activation": "sigmoid",
        "classes": [{"value": 1, "name": "bright", "color": "#ffcc00", "channel": 0}],
    }
    card_input = {
        "bands": ["red", "green", "blue"],
        "data_type": ["uint8"],
        "value_range": [0, 255],
        "value_scaling": {"type": "z-score", "mean": [126.9] * 3, "stddev": [64.0] * 3},
        "gsd_range": None,
    }
    without_context = {"input": card_input, "halo": 0, "theoretical_halo": 0}
    write_card(folder, **{"output": output, **without_context, **card_changes})
    return folder


def _save(
    nodes: list[onnx.NodeProto],
    weights: list[onnx.TensorProto],
    path: Path,
    bands: int,
    classes: int,
) -> None:
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", bands, "h", "w"])],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["n", classes, "h", "w"])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def write_deepness_model(
    path: Path,
    *,
    side: int | None = 64,
    classes: int = 2,
    metadata: dict[str, str] | None = None,
    data_type: str = "float32",
    flat: bool = False,
    batch: int = 1,
    stride: int = 1,
    outputs: int = 1,
    weights_file: str = "",
) -> Path:
    """An ONNX file as the Deepness plugin takes it: a fixed window, metadata, no card.

    It takes images of `data_type`, `batch` at once (bytes as they are); with `flat` it gives
    (N, H, W). A network with a stride has one max pooling of it and as large a nearest
    upsampling before the convolution. A second output is the first one's logits. With
    `weights_file` the weights lie in a file of that name beside it.

    It is a softmax over `classes` channels, or a sigmoid for one; channel k is the higher the
    nearer the mean of the bands (0-1 after Deepness's scaling) is to k / (classes - 1).
    """
    slopes = np.linspace(-8, 8, classes) if classes > 1 else np.array([8.0])
    weights = [
        numpy_helper.from_array(
            np.repeat(slopes, 3).reshape(classes, 3, 1, 1).astype(np.float32) / 3, "w"
        )
    ]
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(data_type))
    nodes = [helper.make_node("Cast", ["image"], ["cast"], to=TensorProto.FLOAT)]
    # What Deepness does to pixels before any other network, one of bytes does by itself.
    factor, shift = (1 / 63.75, -2.0) if data_type == "uint8" else (1.0, 0.0)
    for name, number in (("factor", factor), ("shift", shift)):
        weights.append(numpy_helper.from_array(np.array(number, np.float32), name))
    nodes.append(helper.make_node("Mul", ["cast", "factor"], ["scaled"]))
    nodes.append(helper.make_node("Add", ["scaled", "shift"], ["numbers"]))
    if stride > 1:
        sides = {"kernel_shape": [stride, stride], "strides": [stride, stride]}
        nodes.append(helper.make_node("MaxPool", ["numbers"], ["coarse"], **sides))
        scales = np.array([1, 1, stride, stride], np.float32)
        weights.append(numpy_helper.from_array(scales, "scales"))
        nodes.append(helper.make_node("Resize", ["coarse", "", "scales"], ["fine"], mode="nearest"))
    source = "fine" if stride > 1 else "numbers"
    nodes.append(helper.make_node("Conv", [source, "w"], ["logits"], kernel_shape=[1, 1]))
    if classes > 1:
        nodes.append(helper.make_node("Softmax", ["logits"], ["scores"], axis=1))
    else:
        nodes.append(helper.make_node("Sigmoid", ["logits"], ["scores"]))
    size = side or "side"
    if flat:
        weights.append(numpy_helper.from_array(np.array([1], np.int64), "axis"))
        nodes.append(helper.make_node("Squeeze", ["scores", "axis"], ["flat"]))
    made = kind if kind == TensorProto.FLOAT16 else TensorProto.FLOAT
    last = "flat" if flat else "scores"
    nodes.append(helper.make_node("Cast", [last], ["probability"], to=made))
    shape = [batch, size, size] if flat else [batch, classes, size, size]
    second = helper.make_tensor_value_info(
        "logits", TensorProto.FLOAT, [batch, classes, size, size]
    )
    graph = helper.make_graph(
        nodes,
        "deepness",
        [helper.make_tensor_value_info("image", kind, [batch, 3, size, size])],
        [helper.make_tensor_value_info("probability", made, shape), *[second] * (outputs - 1)],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    names = {0: "dark", 1: "light"} if classes > 1 else {0: "light"}
    described = {
        "model_type": json.dumps("Segmentor"),
        "class_names": json.dumps(names),
        "resolution": json.dumps(25),
        "tiles_overlap": json.dumps(15),
        "standardization_mean": json.dumps([0.5, 0.5, 0.5]),
        "standardization_std": json.dumps([0.25, 0.25, 0.25]),
        "seg_thresh": json.dumps(0.5),
    }
    helper.set_model_props(model, described if metadata is None else metadata)
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    outside = {"save_as_external_data": True, "location": weights_file, "size_threshold": 0}
    onnx.save(model, path, **(outside if weights_file else {}))
    return path
