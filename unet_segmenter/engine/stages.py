# SPDX-License-Identifier: GPL-2.0-or-later
"""A network cut at its own scales, as its card describes it.

Most of a U-Net's arithmetic is at high resolution and needs little context; most of its context
is gathered at low resolution, where it is cheap. Run as one graph, a network needs the deep
layers' context at full resolution. Cut into parts, each part needs only its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .errors import ModelError

LARGEST_STRIDE = 1024
"""No network is known whose cells are larger; a card that says so is broken."""


@dataclass(frozen=True)
class Feature:
    """A tensor that is kept between parts.

    Parameters
    ----------
    name : str
        Its name in the network's file.
    stride : int
        Side in px of what one of its cells covers.
    channels : int
        Values a cell.
    """

    name: str
    stride: int
    channels: int

    def __post_init__(self) -> None:
        """Refuse a tensor without cells."""
        if not self.name or not 1 <= self.stride <= LARGEST_STRIDE or self.channels < 1:
            raise ModelError(
                f"cuts: the tensor {self.name!r} needs channels above 0, and a stride from 1 to "
                f"{LARGEST_STRIDE}"
            )


@dataclass(frozen=True)
class Part:
    """One part of a network.

    Parameters
    ----------
    inputs : tuple of str
        Names of the features that it reads.
    outputs : tuple of Feature
        What it gives.
    halo : int
        Context in px around what it gives, a multiple of the divisor.
    divisor : int
        Its windows start and end at multiples of it.
    width : float
        Values a px of its widest tensor, from which the memory of a window follows.
    """

    inputs: tuple[str, ...]
    outputs: tuple[Feature, ...]
    halo: int
    divisor: int
    width: float

    def __post_init__(self) -> None:
        """Refuse a part that gives nothing, or whose windows would not fit its cells."""
        if not self.inputs or not self.outputs:
            raise ModelError("cuts: a part needs inputs and outputs")
        names = ", ".join(f.name for f in self.outputs)
        if self.divisor < 1 or self.halo < 0 or self.halo % self.divisor or self.width <= 0:
            raise ModelError(
                f"cuts: the part that gives {names} needs a divisor and a width above 0, and a "
                f"halo that is a multiple of its divisor, not {self.divisor}, {self.width} and "
                f"{self.halo}"
            )
        if any(self.divisor % f.stride for f in self.outputs):
            raise ModelError(f"cuts: the divisor {self.divisor} is no multiple of strides of "
                             f"{names}")  # fmt: skip

    @property
    def finest(self) -> int:
        """The smallest stride of what it gives."""
        return min(f.stride for f in self.outputs)


@dataclass(frozen=True)
class Cuts:
    """A network as parts, from the image to its logits.

    Parameters
    ----------
    image : Feature
        What the first part reads: the scaled image, averaged over stride x stride px.
    parts : tuple of Part
        In the order in which they can run. The last gives one feature, the logits.
    doublings : int
        How often the logits' resolution is doubled after the last part, each time by repeating
        cells and averaging 3 x 3 of them, to reach the image's.
    """

    image: Feature
    parts: tuple[Part, ...]
    doublings: int

    def __post_init__(self) -> None:
        """Refuse parts that do not fit together."""
        if not self.parts:
            raise ModelError("cuts: there are no parts")
        known = {self.image.name: self.image}
        for part in self.parts:
            for name in part.inputs:
                if name not in known:
                    raise ModelError(f"cuts: no part gives {name} before it is read")
                if part.divisor % known[name].stride:
                    raise ModelError(
                        f"cuts: the divisor {part.divisor} is no multiple of the stride of {name}"
                    )
            known.update({feature.name: feature for feature in part.outputs})
        if len(known) != 1 + sum(len(part.outputs) for part in self.parts):
            raise ModelError("cuts: two parts give a tensor of one name")
        strides = [feature.stride for feature in self.parts[-1].outputs]
        if not 0 <= self.doublings <= 10 or strides != [2**self.doublings]:
            raise ModelError(
                f"cuts: the last part must give one tensor, whose stride is 2 for each of "
                f"{self.doublings} doublings, not {strides}"
            )

    @property
    def logits(self) -> Feature:
        """What the last part gives."""
        return self.parts[-1].outputs[0]

    @property
    def divisor(self) -> int:
        """The coarsest divisor of a part."""
        return max(part.divisor for part in self.parts)

    def feature(self, name: str) -> Feature:
        """The image, or a feature of that name that a part gives."""
        features = (self.image, *(f for part in self.parts for f in part.outputs))
        return next(f for f in features if f.name == name)

    def producer(self, name: str) -> int | None:
        """Place of the part that gives a feature; None for the image."""
        for place, part in enumerate(self.parts):
            if any(feature.name == name for feature in part.outputs):
                return place
        return None

    def consumers(self, place: int) -> list[int]:
        """Places of the parts that read what a part gives."""
        given = {feature.name for feature in self.parts[place].outputs}
        return [k for k, part in enumerate(self.parts) if given & set(part.inputs)]

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Cuts:
        """Make cuts of a card's entry; `ModelError`, `KeyError` or `TypeError` if broken."""
        return cls(
            Feature(**content["image"]),
            tuple(
                Part(
                    tuple(map(str, part["inputs"])),
                    tuple(Feature(**feature) for feature in part["outputs"]),
                    int(part["halo"]),
                    int(part["divisor"]),
                    float(part["width"]),
                )
                for part in content["parts"]
            ),
            int(content["doublings"]),
        )
