# SPDX-License-Identifier: GPL-2.0-or-later
"""What a model takes, gives, and is worth: the card.json beside its weights.

The words are those of the STAC Machine Learning Model extension where it has them. A card
is data: loading one reads JSON, compares hashes, and never runs code that a model brings.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .card_schema import check_card
from .errors import JobError, ModelError
from .geometry import ceil_to
from .name_lists import join_names
from .onnx_files import external_files
from .stages import Cuts

CARD_NAME = "card.json"
FORMAT = "unet-segmenter-card"
FORMAT_VERSION = 1
ACTIVATIONS = ("sigmoid", "softmax")
# "onnx-data": a file in which an ONNX file of the same model keeps weights.
FILE_FORMATS = ("onnx", "keras", "onnx-data")
DIM_ORDERS = ("nchw", "nhwc")
NODATA_VALUE = 255
UNKNOWN_VALUE = 0
# In px: no window of a raster that a machine can hold is larger.
LARGEST_CONTEXT = 16384
_TEXTS = ("name", "version", "title", "description", "license", "citation")


@dataclass(frozen=True)
class Calibration:
    """Platt scaling of one class: p' = sigmoid(scale * logit(p) + offset)."""

    scale: float = 1.0
    offset: float = 0.0

    @property
    def is_identity(self) -> bool:
        """Whether it changes nothing."""
        return self.scale == 1.0 and self.offset == 0.0

    def __post_init__(self) -> None:
        """Refuse a curve that does not rise, and numbers that are none."""
        if not (math.isfinite(self.scale) and self.scale > 0 and math.isfinite(self.offset)):
            raise ModelError(
                f"calibration needs a scale above 0 and a finite offset, not {self.scale} and "
                f"{self.offset}"
            )


@dataclass(frozen=True)
class ModelClass:
    """One class that the model tells.

    Parameters
    ----------
    value : int
        Its id in masks, 1-254.
    name, color : str
        Its name, and its colour as "#rrggbb".
    channel : int
        Its place on the channel axis of the model's output.
    threshold : float
        Probability (0-1) from which a pixel belongs to it.
    calibration : Calibration
        Correction of its probability.
    part_of : str, optional
        Name of the class that contains it, as vegetation contains trees.
    """

    value: int
    name: str
    color: str
    channel: int
    threshold: float = 0.5
    calibration: Calibration = field(default=Calibration())
    part_of: str | None = None

    def __post_init__(self) -> None:
        """Refuse values that a mask cannot hold."""
        if not self.name.strip():
            raise ModelError(f"the class of the value {self.value} has no name")
        if not UNKNOWN_VALUE < self.value < NODATA_VALUE:
            raise ModelError(f"class {self.name}: value {self.value} is not in 1-254")
        if not 0 <= self.threshold <= 1:
            raise ModelError(f"class {self.name}: threshold {self.threshold} is not in 0-1")
        if self.channel < 0:
            raise ModelError(f"class {self.name}: channel {self.channel} is negative")
        if not re.fullmatch("#[0-9A-Fa-f]{6}", self.color):
            raise ModelError(f"class {self.name}: colour {self.color!r} is not #rrggbb")


@dataclass(frozen=True)
class ModelInput:
    """What the network is fed.

    Parameters
    ----------
    bands : tuple of str
        Names of the bands in the network's order.
    data_type : tuple of str
        Types of raster that the model was made for.
    value_range : tuple of float
        Smallest and largest raster value that the model was made for.
    mean, stddev : tuple of float
        The network sees (value - mean) / stddev, one of each a band.
    gsd_range : tuple of float, optional
        Ground sampling distances in metres that the training images had.
    """

    bands: tuple[str, ...]
    data_type: tuple[str, ...]
    value_range: tuple[float, float]
    mean: tuple[float, ...]
    stddev: tuple[float, ...]
    gsd_range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        """Refuse a scaling that does not fit the bands."""
        if not self.bands:
            raise ModelError("the input has no bands")
        if not len(self.bands) == len(self.mean) == len(self.stddev):
            raise ModelError("bands, mean and stddev differ in length")
        if not all(math.isfinite(m) for m in self.mean):
            raise ModelError("a mean is not a number")
        if not all(math.isfinite(s) and s > 0 for s in self.stddev):
            raise ModelError("a stddev is not above 0")
        if not self.value_range[0] < self.value_range[1]:
            raise ModelError(f"the value range {list(self.value_range)} is empty")
        if self.gsd_range is not None and not 0 < self.gsd_range[0] <= self.gsd_range[1]:
            raise ModelError(f"the gsd_range {list(self.gsd_range)} is empty")


@dataclass(frozen=True)
class ModelFile:
    """One file of weights, with the hash that it must have."""

    name: str
    format: str
    dim_order: str
    sha256: str
    size: int

    def __post_init__(self) -> None:
        """Refuse formats that no predictor reads, and paths out of the model's folder."""
        if self.format not in FILE_FORMATS:
            raise ModelError(f"file {self.name}: format {self.format!r} is unknown")
        if self.dim_order not in DIM_ORDERS:
            raise ModelError(f"file {self.name}: dim_order {self.dim_order!r} is unknown")
        if Path(self.name).name != self.name or self.name in ("", "..") or "\\" in self.name:
            raise ModelError(f"file {self.name!r} is not a plain file name")
        if not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise ModelError(f"file {self.name}: sha256 {self.sha256!r} is not 64 hex digits")


@dataclass(frozen=True)
class ModelCard:
    """A model's card.

    Parameters
    ----------
    folder : Path
        Where its files lie.
    name, version, title, description, license, citation : str
        What it is, and how to cite it.
    input : ModelInput
        What it takes.
    activation : str
        "sigmoid" (one-vs-rest) or "softmax"; the network's output is after it.
    classes : tuple of ModelClass
        What it tells.
    divisor : int
        Windows must start and end at multiples of it.
    halo, theoretical_halo : int
        Context in px that blocks need: as measured at export, and by the receptive field.
    files : tuple of ModelFile
        Its weights, one file a runtime format.
    fixed_size : int, optional
        Side in px of the only window that the network takes; None where it takes any.
    bf16_verified : bool
        Whether its masks were measured to agree in bfloat16.
    cuts : Cuts, optional
        The parts that the network can be run in, each with its own context.
    details : dict
        The rest of the card: sources, training, metrics.
    """

    folder: Path
    name: str
    version: str
    title: str
    description: str
    license: str
    citation: str
    input: ModelInput
    activation: str
    classes: tuple[ModelClass, ...]
    divisor: int
    halo: int
    theoretical_halo: int
    files: tuple[ModelFile, ...]
    fixed_size: int | None = None
    bf16_verified: bool = False
    cuts: Cuts | None = None
    details: dict[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        """Refuse a card that contradicts itself."""
        if self.activation not in ACTIVATIONS:
            raise ModelError(f"activation {self.activation!r} is not one of {ACTIVATIONS}")
        if not self.classes:
            raise ModelError("it names no classes")
        for attribute in ("value", "name", "channel"):
            values = [getattr(c, attribute) for c in self.classes]
            if len(set(values)) != len(values):
                raise ModelError(f"two classes share a {attribute}")
        if self.divisor < 1 or self.halo < 0 or self.theoretical_halo < 0:
            raise ModelError("divisor must be 1 or more, halo and theoretical_halo 0 or more")
        if max(self.divisor, self.halo, self.theoretical_halo) > LARGEST_CONTEXT:
            raise ModelError(
                f"divisor, halo and theoretical_halo must be {LARGEST_CONTEXT} px at most"
            )
        if not self.files:
            raise ModelError("it names no file of weights")
        self._check_parts()
        self._check_fixed_size()
        self._check_cuts()

    def _check_parts(self) -> None:
        named = {c.name: c for c in self.classes}
        for part in self.classes:
            if part.part_of is None:
                continue
            if part.part_of not in named:
                raise ModelError(f"class {part.name}: there is no class {part.part_of!r} that it "
                                 "could be part of")  # fmt: skip
            if part.part_of == part.name or named[part.part_of].part_of is not None:
                raise ModelError(
                    f"class {part.name}: {part.part_of!r} is itself part of a class; parts have "
                    "one level"
                )
            if self.activation == "softmax":
                raise ModelError(
                    f"class {part.name}: part_of needs the activation sigmoid, as classes of a "
                    "softmax exclude each other"
                )

    def _check_fixed_size(self) -> None:
        size = self.fixed_size
        if size is None:
            return
        if size % self.divisor:
            raise ModelError(f"fixed_size {size!r} is not a multiple of the divisor {self.divisor}")
        if size < 2 * ceil_to(self.halo, self.divisor) + self.divisor:
            raise ModelError(f"the halo of {self.halo} px leaves nothing of fixed_size {size} px")

    def _check_cuts(self) -> None:
        cuts = self.cuts
        if cuts is None:
            return
        if self.fixed_size is not None:
            raise ModelError("cuts: a network of a fixed size cannot be cut")
        if max(part.halo for part in cuts.parts) > LARGEST_CONTEXT:
            raise ModelError(f"cuts: a part's halo must be {LARGEST_CONTEXT} px at most")
        if any(self.divisor % part.divisor for part in cuts.parts):
            raise ModelError(f"cuts: a part's divisor does not divide the network's {self.divisor}")
        if cuts.image.channels != len(self.input.bands):
            raise ModelError(f"cuts: the image has {cuts.image.channels} channels, not a band each")
        if max(c.channel for c in self.classes) >= cuts.logits.channels:
            raise ModelError(f"cuts: {cuts.logits.name} has too few channels for the classes")

    @classmethod
    def load(cls, path: str | Path) -> ModelCard:
        """Read the card of a model.

        Parameters
        ----------
        path : str or Path
            The model's folder, its card.json, or a file of weights beside a card.

        Raises
        ------
        ModelError
            If there is no card, or it is broken.
        """
        path = Path(path)
        folder = path if path.is_dir() else path.parent
        card = folder / CARD_NAME
        if not card.is_file():
            raise ModelError(f"{path} is no model: there is no {CARD_NAME} in {folder}.")
        try:
            content = json.loads(card.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise ModelError(f"The model card {card} cannot be read: {error}.") from error
        try:
            return cls.from_json(content, folder)
        except ModelError as error:
            raise ModelError(
                f"The model card {card} is broken: {error}. Get the model again."
            ) from error

    @classmethod
    def from_json(cls, content: dict[str, Any], folder: Path) -> ModelCard:
        """Make a card from the content of a card.json; `ModelError` where it is broken."""
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise ModelError(f"its format is not {FORMAT!r}")
        if content.get("format_version") != FORMAT_VERSION:
            raise ModelError(
                f"its format version is {content.get('format_version')}, this plugin reads "
                f"{FORMAT_VERSION}"
            )
        check_card(content)
        return _card_from(content, folder)

    def to_json(self) -> dict[str, Any]:
        """The content of a card.json that `from_json` makes the same card of."""
        given = self.input
        return {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            **self.details,
            **{key: getattr(self, key) for key in _TEXTS},
            "input": {
                "bands": list(given.bands),
                "data_type": list(given.data_type),
                "value_range": list(given.value_range),
                "value_scaling": {
                    "type": "z-score",
                    "mean": list(given.mean),
                    "stddev": list(given.stddev),
                },
                "gsd_range": None if given.gsd_range is None else list(given.gsd_range),
            },
            "output": {
                "activation": self.activation,
                "classes": [dataclasses.asdict(c) for c in self.classes],
            },
            "divisor": self.divisor,
            "halo": self.halo,
            "theoretical_halo": self.theoretical_halo,
            "files": [dataclasses.asdict(file) for file in self.files],
            "fixed_size": self.fixed_size,
            **({} if self.cuts is None else {"cuts": dataclasses.asdict(self.cuts)}),
        }

    def select(self, names: tuple[str, ...]) -> tuple[ModelClass, ...]:
        """The classes of the given names in the card's order; all for no names.

        Raises
        ------
        JobError
            If the model has no class of one of the names.
        """
        known = [c.name for c in self.classes]
        unknown = [name for name in names if name not in known]
        if unknown:
            raise JobError(
                f"The model {self.name} has no class {', '.join(map(repr, unknown))}; "
                f"it has {join_names(known)}."
            )
        return tuple(c for c in self.classes if not names or c.name in names)

    def file(self, *formats: str) -> ModelFile | None:
        """The first file in one of the formats that is there, or None."""
        for file in self.files:
            if file.format in formats and (self.folder / file.name).is_file():
                return file
        return None

    def checked_path(self, file: ModelFile) -> Path:
        """Path of one of the card's files, after a look at its hash.

        The files in which an ONNX file keeps weights are looked at with it.

        Raises
        ------
        ModelError
            If one of them is absent, not named by the card, or not the one that it describes.
        """
        path = self._checked(file)
        for name in external_files(path) if file.format == "onnx" else ():
            beside = next((f for f in self.files if f.name == name), None)
            if beside is None:
                raise ModelError(
                    f"{path} keeps weights in {name}, of which its card has no hash, so that they "
                    f"could be exchanged unseen. {self._entry_for(name)}"
                )
            self._checked(beside)
        return path

    def _entry_for(self, name: str) -> str:
        """What to add to the card for a file of weights beside it."""
        path = self.folder / name
        if not path.is_file() or path.parent != self.folder:
            return "Get the model again."
        entry = ModelFile(name, "onnx-data", "nchw", sha256_of(path), path.stat().st_size)
        return f'If they are the right ones, add to "files" of {CARD_NAME}: ' + json.dumps(
            dataclasses.asdict(entry)
        )

    def _checked(self, file: ModelFile) -> Path:
        path = self.folder / file.name
        if not path.is_file():
            raise ModelError(f"The model {self.name} lacks its file {path}. Get the model again.")
        found = sha256_of(path)
        if found != file.sha256:
            raise ModelError(
                f"{path} is not the file that its card describes (sha256 {found[:12]}..., the card "
                f"says {file.sha256[:12]}...): it is damaged or was exchanged. Get the model again."
            )
        return path


def sha256_of(path: Path) -> str:
    """Hash of a file's content, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _card_from(content: dict[str, Any], folder: Path) -> ModelCard:
    card_input, output = content["input"], content["output"]
    scaling = card_input["value_scaling"]
    if scaling["type"] != "z-score":
        raise ModelError(f"value_scaling {scaling['type']!r} is unknown; z-score is known")
    gsd = card_input.get("gsd_range")
    known = set(ModelCard.__dataclass_fields__) - {"details"}
    return ModelCard(
        folder=folder,
        **{key: content[key] for key in _TEXTS},
        input=ModelInput(
            bands=tuple(card_input["bands"]),
            data_type=tuple(card_input["data_type"]),
            value_range=_pair(card_input["value_range"]),
            mean=tuple(map(float, scaling["mean"])),
            stddev=tuple(map(float, scaling["stddev"])),
            gsd_range=None if gsd is None else _pair(gsd),
        ),
        activation=output["activation"],
        classes=tuple(_class_from(c) for c in output["classes"]),
        divisor=content["divisor"],
        halo=content["halo"],
        theoretical_halo=content["theoretical_halo"],
        files=tuple(ModelFile(**file) for file in content["files"]),
        fixed_size=content.get("fixed_size"),
        bf16_verified="bf16" in content.get("precision", {}),
        cuts=Cuts.from_json(content["cuts"]) if content.get("cuts") else None,
        details={key: value for key, value in content.items() if key not in known},
    )


def _class_from(content: dict[str, Any]) -> ModelClass:
    calibration = Calibration(**content.get("calibration", {}))
    return ModelClass(**{**content, "calibration": calibration})


def _pair(values: list[float]) -> tuple[float, float]:
    low, high = map(float, values)
    return low, high
