# SPDX-License-Identifier: GPL-2.0-or-later
"""Find where a U-Net can be cut at its own scales, and how much context each part needs.

At each stride from `FINEST_CUT` on, the layers at coarser strides are cut off: the encoder's last
tensor at that stride goes in, the decoder's tensor before its upsampling comes out. What lies
between two such cuts is one part on the way down and one on the way up. The enlarging of the
logits is left to the engine, and so is an average of pixels that the network begins with.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from unet_segmenter.engine.geometry import ceil_to
from unet_segmenter.engine.stages import Cuts, Feature, Part

from .graph import cells_needed, kind_of, layers_with_parents, strides_of
from .onnx_writer import INPUT

if TYPE_CHECKING:
    import keras

CUT_FROM = 4
"""Cells as fine as this, in px of what the encoder sees, are cut off from coarser ones."""
HEADS = ("sigmoid", "softmax")

Graph = list[tuple[Any, list[Any]]]


def find_cuts(model: keras.Model) -> Cuts | None:
    """Return the parts of a network with the context that each can see at all; None for none.

    Parameters
    ----------
    model : keras.Model
        From scaled images to probabilities, as it is exported.
    """
    net = _Network.of(model)
    if net is None:
        return None
    levels = net.levels()
    if levels is None:
        return None
    depth = max(levels.values())
    place = {name: levels[name] for name in net.members}
    for layer, parents in net.graph:
        name = layer.name
        above = any(place.get(p.name, 0) > levels[name] for p in parents)
        if name in levels and above:  # on the way up
            place[name] = 2 * depth - levels[name]
    parts = [
        net.part([entry for entry in net.graph if place.get(entry[0].name) == k], place, k)
        for k in range(2 * depth + 1)
    ]
    return Cuts(net.feature(net.image), tuple(parts), net.doublings)


def with_halos(cuts: Cuts, share: float) -> Cuts:
    """Return the parts with that share of the context that they can see, rounded up.

    The context of the parts at the finest strides is small, and stays.
    """
    first = cuts.parts[0].halo
    return replace(
        cuts,
        parts=tuple(
            part if part.halo <= 4 * first
            else replace(part, halo=ceil_to(int(part.halo * share), part.divisor))
            for part in cuts.parts
        ),
    )  # fmt: skip


@dataclass(frozen=True)
class _Network:
    """A network without its first average and its last enlarging.

    Attributes
    ----------
    graph : list of tuple
        Layers between the image and the logits, with their parents.
    image, logits : str
        Names of the tensors that these layers begin and end with.
    doublings : int
        How often the logits are doubled to the image's size.
    is_input : bool
        Whether the image is the network's own input, and no average of it.
    """

    graph: Graph
    strides: dict[str, int]
    channels: dict[str, int]
    readers: dict[str, list[str]]
    image: str
    logits: str
    doublings: int
    is_input: bool

    @classmethod
    def of(cls, model: keras.Model) -> _Network | None:
        """Return the network, or None where it does not end with enlarged logits."""
        graph = layers_with_parents(model)
        parents = {layer.name: parents for layer, parents in graph}
        readers: dict[str, list[str]] = defaultdict(list)
        for layer, before in graph:
            for parent in before:
                readers[parent.name].append(layer.name)
        logits, doublings, last = _before_enlarging(graph[-1][0], parents)
        first = graph[0][0]
        image = first
        if len(readers[first.name]) == 1:
            (after,) = (layer for layer, _ in graph if layer.name == readers[first.name][0])
            if _averages_squares(after):
                image = after
        if last is None or logits is image:
            return None
        ends = {first.name, image.name, *last}
        strides = strides_of(graph)
        return cls(
            [entry for entry in graph if entry[0].name not in ends],
            {name: int(stride) for name, stride in strides.items()},
            {layer.name: int(layer.output.shape[-1]) for layer, _ in graph},
            readers, image.name, logits.name, doublings, image is first,
        )  # fmt: skip

    @property
    def members(self) -> list[str]:
        return [layer.name for layer, _ in self.graph]

    def tensor(self, name: str) -> str:
        """Return the name that a layer's output has in the ONNX file."""
        return INPUT if self.is_input and name == self.image else name

    def feature(self, name: str) -> Feature:
        return Feature(self.tensor(name), self.strides[name], self.channels[name])

    def levels(self) -> dict[str, int] | None:
        """Return by layer how many cuts lie before it on the way down; None without a cut."""
        levels = dict.fromkeys(self.members, 0)
        strides = sorted({self.strides[name] for name in self.members})
        finest = CUT_FROM * self.strides[self.image]
        for stride in strides[:-1]:
            deep = self._cut_off(stride) if stride >= finest else None
            for name in deep or ():
                levels[name] += 1
        return levels if any(levels.values()) else None

    def _cut_off(self, stride: int) -> set[str] | None:
        """Return the layers coarser than a stride, with those that lead to them only."""
        deep = {name for name in self.members if self.strides[name] > stride}
        parents = {layer.name: [p.name for p in before] for layer, before in self.graph}
        entries = {p for name in deep for p in parents[name] if p not in deep}
        exits = {name for name in deep if not set(self.readers[name]) <= deep}
        if len(entries) != 1 or len(exits) != 1:
            return None
        # Where the tensor is narrowest: a block widens before it strides.
        chain = [entries.pop()]
        while (
            chain[-1] in parents
            and len(parents[chain[-1]]) == 1
            and set(self.readers[chain[-1]]) <= deep | set(chain)
            and self.strides[parents[chain[-1]][0]] == stride
        ):
            chain.append(parents[chain[-1]][0])
        narrowest = min(range(len(chain)), key=lambda k: self.channels[chain[k]])
        return deep | set(chain[:narrowest])

    def part(self, graph: Graph, place: dict[str, int], number: int) -> Part:
        """Return a part of these layers, with all the context that it can see."""
        inside = {layer.name for layer, _ in graph}
        read = {p.name for _, parents in graph for p in parents} - inside
        order = [self.image, *self.members]
        given = [
            name for name in order
            if name in inside
            and (name == self.logits or not set(self.readers[name]) <= inside)
        ]  # fmt: skip
        divisor = max(self.strides[name] for name in inside | read)
        wanted = {name: (0, divisor // self.strides[name]) for name in given}
        reach = 0
        for axis in (0, 1):
            needed = cells_needed(graph, wanted, axis)
            for name in read:
                low, high = (cells * self.strides[name] for cells in needed[name])
                reach = max(reach, -low, high - divisor)
        return Part(
            tuple(self.tensor(name) for name in sorted(read, key=order.index)),
            tuple(self.feature(name) for name in given),
            ceil_to(reach, divisor),
            divisor,
            max(self.channels[name] / self.strides[name] ** 2 for name in inside),
        )


def _before_enlarging(
    last: Any, parents: dict[str, list[Any]]
) -> tuple[Any, int, list[str] | None]:
    """Return the logits' layer, how often they are doubled, and the layers after it."""
    active = getattr(getattr(last, "activation", None), "__name__", "")
    if kind_of(last) != "Activation" or active not in HEADS:
        return last, 0, None
    after, doublings = [last.name], 0
    (layer,) = parents[last.name]
    while _smooths(layer) and _repeats(parents[layer.name][0]):
        up = parents[layer.name][0]
        after += [layer.name, up.name]
        doublings += 1
        (layer,) = parents[up.name]
    return layer, doublings, after


def _smooths(layer: Any) -> bool:
    return kind_of(layer) == "AveragePooling2D" and (
        (tuple(layer.pool_size), tuple(layer.strides), layer.padding) == ((3, 3), (1, 1), "same")
    )


def _repeats(layer: Any) -> bool:
    nearest = kind_of(layer) == "UpSampling2D" and layer.interpolation == "nearest"
    return nearest and tuple(layer.size) == (2, 2)


def _averages_squares(layer: Any) -> bool:
    if kind_of(layer) != "AveragePooling2D":
        return False
    rows, cols = layer.pool_size
    return rows == cols and tuple(layer.strides) == (rows, cols) and layer.padding == "valid"
