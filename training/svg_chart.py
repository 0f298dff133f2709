# SPDX-License-Identifier: GPL-2.0-or-later
"""Line charts as SVG text, for pages that hold all they show."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 520, 270
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 14, 34
_DOTS = 60  # more points than that get no dot of their own


@dataclass(frozen=True)
class Line:
    """A line of a chart; values that are no number leave a gap."""

    name: str
    color: str
    values: Sequence[float]
    bold: bool = False
    dashed: bool = False


def line_chart(
    lines: Sequence[Line],
    last: int,
    label: str,
    limits: tuple[float, float] | None = None,
    mark: int | None = None,
) -> str:
    """Return an SVG of values by epoch, from 1 on.

    Parameters
    ----------
    last : int
        Last epoch of the axis.
    label : str
        What is shown, for those who cannot see it.
    limits : tuple of float, optional
        Of the values; else what the lines need.
    mark : int, optional
        Epoch to mark with a vertical line.
    """
    low, high = limits or _limits(lines)
    inner = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def at(epoch: float, value: float) -> tuple[float, float]:
        across = (epoch - 1) / max(last - 1, 1)
        up = (value - low) / (high - low)
        return LEFT + across * inner[0], TOP + (1 - min(max(up, 0.0), 1.0)) * inner[1]

    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(label)}">',
        *_grid(low, high, last, at),
    ]
    if mark is not None:
        x, _y = at(mark, low)
        parts.append(f'<line class="mark" x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" '
                     f'y2="{HEIGHT - BOTTOM}"/>')  # fmt: skip
    for line in lines:
        parts += _drawn(line, at)
    return "\n".join([*parts, "</svg>"])


def _drawn(line: Line, at) -> list[str]:
    points = [(n, v) for n, v in enumerate(line.values, start=1) if math.isfinite(v)]
    places = [at(*point) for point in points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    style = f'stroke="{line.color}" stroke-width="{2.6 if line.bold else 1.7}"'
    if line.dashed:
        style += ' stroke-dasharray="5 3"'
    parts = [f'<polyline fill="none" {style} points="{path}"/>'] if len(points) > 1 else []
    if len(points) <= _DOTS:
        parts += [
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{3 if line.bold else 2.3}" fill="{line.color}">'
            f"<title>{html.escape(line.name)}, epoch {epoch}: {value:.4g}</title></circle>"
            for (epoch, value), (x, y) in zip(points, places, strict=True)
        ]
    return parts


def _grid(low: float, high: float, last: int, at) -> list[str]:
    parts = []
    for value in ticks(low, high, 5):
        _x, y = at(1, value)
        parts.append(f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" '
                     f'y2="{y:.1f}"/><text x="{LEFT - 6}" y="{y + 4:.1f}" '
                     f'text-anchor="end">{value:g}</text>')  # fmt: skip
    for epoch in sorted({1, last, *(round(t) for t in ticks(1, last, 6) if 1 <= t <= last)}):
        x, _y = at(epoch, low)
        # No two numbers on top of each other at the right end.
        if epoch != last and last > 1 and (last - epoch) / (last - 1) < 0.05:
            continue
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}" '
                     f'text-anchor="middle">{epoch}</text>')  # fmt: skip
    parts.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 3}" text-anchor="end">epoch</text>')
    return parts


def ticks(low: float, high: float, count: int) -> list[float]:
    """Return about ``count`` round numbers from ``low`` to ``high``."""
    if not high > low:
        return [low]
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(s * power for s in (1, 2, 5, 10) if s * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    found = [n * step for n in range(first, first + 2 * count + 2) if n * step <= high + 1e-9]
    return [float(f"{value:.6g}") for value in found]


def _limits(lines: Sequence[Line]) -> tuple[float, float]:
    values = [v for line in lines for v in line.values if math.isfinite(v)]
    low, high = min(values, default=0.0), max(values, default=1.0)
    low = 0.0 if 0 <= low < 0.6 * high else low
    pad = 0.05 * (high - low) or 0.5
    return (low if low == 0.0 else low - pad), high + pad
