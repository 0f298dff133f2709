# SPDX-License-Identifier: GPL-2.0-or-later
"""The parts of which reports of evaluations are made: HTML in one file, plots as SVG."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from string import Template

from .reliability import ReliabilityCurve

_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>$title</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 1080px; margin: 2em auto;
       padding: 0 1em; }
h1 { font-size: 1.6em; margin-bottom: .2em; } h2 { font-size: 1.2em; margin: 2em 0 .6em; }
p.lead { color: #555; margin-top: 0; }
table { border-collapse: collapse; }
td, th { padding: .3em .8em .3em 0; text-align: left; border-bottom: 1px solid #e3e3e3;
         vertical-align: middle; font-weight: normal; }
th { color: #555; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
.tiles { display: flex; flex-wrap: wrap; gap: .8em; margin: 1.2em 0; }
.tile { border: 1px solid #ddd; border-radius: 6px; padding: .5em 1em; min-width: 7.5em; }
.tile b { display: block; font-size: 1.5em; font-weight: 600; font-variant-numeric: tabular-nums; }
.tile span { color: #666; font-size: .87em; }
.swatch { display: inline-block; width: 1em; height: 1em; border: 1px solid #8888;
          vertical-align: -2px; margin-right: .5em; border-radius: 2px; }
.track { display: inline-block; width: 130px; height: .7em; background: #eee; border-radius: 3px;
         margin-right: .6em; overflow: hidden; }
.bar { display: block; height: 100%; box-shadow: inset 0 0 0 1px #0002; }
.warning { background: #fff4d6; border-left: 4px solid #e0a100; padding: .5em 1em; margin: .5em 0; }
.matrix td, .matrix th { padding: .35em .6em; border: 1px solid #fff; text-align: right;
                         font-variant-numeric: tabular-nums; }
.matrix th.row { text-align: left; } .matrix td { min-width: 3.6em; }
.matrix th.column { writing-mode: vertical-rl; transform: rotate(180deg); text-align: left;
                    vertical-align: bottom; padding: .6em .35em; }
figure { margin: 0 0 1.5em; } img { max-width: 100%; border: 1px solid #ddd; }
figcaption, .note { color: #666; font-size: .9em; }
.scroll { overflow-x: auto; }
svg text { font: 12px system-ui, sans-serif; fill: #555; }
</style>
</head>
<body>
<h1>$title</h1>
<p class="lead">$lead</p>
$body
</body>
</html>
""")


def page(title: str, lead: str, parts: Sequence[str]) -> str:
    """The page of these parts, which are HTML; title and lead are text."""
    return _PAGE.substitute(title=html.escape(title), lead=html.escape(lead), body="\n".join(parts))


def section(title: str, body: str, note: str = "") -> str:
    """A heading, what lies under it (HTML), and a remark (text) below."""
    remark = f'<p class="note">{html.escape(note)}</p>' if note else ""
    return f'<h2>{html.escape(title)}</h2>\n<div class="scroll">{body}</div>{remark}'


def warnings(texts: Sequence[str]) -> str:
    """Each in a box."""
    return "\n".join(f'<p class="warning">{html.escape(text)}</p>' for text in texts)


def tiles(numbers: Mapping[str, str]) -> str:
    """Numbers in a row, each over its name."""
    cells = (
        f'<div class="tile"><b>{html.escape(value)}</b><span>{html.escape(name)}</span></div>'
        for name, value in numbers.items()
    )
    return f'<div class="tiles">{"".join(cells)}</div>'


def score(value: float | None) -> str:
    """A score with three digits, a dash where it is undefined."""
    return "-" if value is None else f"{value:.3f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers_from: int = 1) -> str:
    """A table of HTML cells; columns from `numbers_from` on hold numbers, set to the right."""

    def row(tag: str, cells: Sequence[str]) -> str:
        marked = (
            f"<{tag}{' class=number' if place >= numbers_from else ''}>{cell}</{tag}>"
            for place, cell in enumerate(cells)
        )
        return f"<tr>{''.join(marked)}</tr>"

    return (
        "<table>" + "\n".join([row("th", head), *(row("td", cells) for cells in rows)]) + "</table>"
    )


def swatch(name: str, color: str) -> str:
    """A class's colour and name."""
    return f'<span class="swatch" style="background:{color}"></span>{html.escape(name)}'


def bar(value: float | None, color: str) -> str:
    """A score as a bar with its number."""
    width = 0.0 if value is None else max(0.0, min(value, 1.0))
    return (
        f'<span class="track"><span class="bar" style="width:{100 * width:.1f}%;'
        f'background:{color}"></span></span>{score(value)}'
    )


def confusion_table(names: Sequence[str], matrix: Sequence[Sequence[int]]) -> str:
    """Rows of the truth in per cent of the row, right ones green and wrong ones red by share."""
    head = "".join(f'<th class="column">{html.escape(name)}</th>' for name in names)
    lines = [f'<tr><th class="row">truth ↓ &nbsp; map →</th>{head}<th>pixels</th></tr>']
    for place, (name, row) in enumerate(zip(names, matrix)):
        total = sum(row)
        cells = []
        for column, count in enumerate(row):
            share = count / total if total else 0.0
            hue = "46,125,50" if column == place else "198,40,40"
            text = f"{100 * share:.1f}" if count else "·"
            dark = ";color:#fff" if share > 0.6 else ""
            cells.append(
                f'<td title="{count:,} px" style="background:rgba({hue},{share:.3f}){dark}">'
                f"{text}</td>"
            )
        lines.append(
            f'<tr><th class="row">{html.escape(name)}</th>{"".join(cells)}<td>{total:,}</td></tr>'
        )
    return f'<table class="matrix">{"".join(lines)}</table>'


def picture(png: bytes, caption: str) -> str:
    """A picture, put into the page."""
    encoded = base64.b64encode(png).decode()
    text = html.escape(caption)
    return (
        f'<figure><img alt="{text}" src="data:image/png;base64,{encoded}">'
        f"<figcaption>{text}</figcaption></figure>"
    )


def reliability_plot(
    curves: Sequence[ReliabilityCurve], names: Sequence[str], colors: Sequence[str]
) -> str:
    """What probabilities say (x) against what is true (y), a line a class, as SVG."""
    side, left, top = 300, 44, 12

    def point(said: float, true: float) -> str:
        return f"{left + side * said:.1f},{top + side * (1 - true):.1f}"

    ticks = "".join(
        f'<text x="{left - 8}" y="{top + side * (1 - t) + 4:.0f}" text-anchor="end">{t:g}</text>'
        f'<text x="{left + side * t:.0f}" y="{top + side + 18}" text-anchor="middle">{t:g}</text>'
        f'<path d="M{point(0, t)}L{point(1, t)}M{point(t, 0)}L{point(t, 1)}" stroke="#eee"/>'
        for t in (0, 0.25, 0.5, 0.75, 1)
    )
    lines = []
    for curve, color in zip(curves, colors):
        known = curve.counts > 0
        points = [point(s, t) for s, t in zip(curve.said[known], curve.true[known])]
        dots = "".join(
            f'<circle cx="{x}" cy="{y}" r="3" fill="{color}"/>'
            for x, y in (p.split(",") for p in points)
        )
        lines.append(
            f'<polyline points="{" ".join(points)}" fill="none" stroke="{color}" '
            f'stroke-width="2"/>{dots}'
        )
    legend = "".join(
        f'<text x="{left + side + 32}" y="{top + 16 + 20 * k}">{html.escape(name)}</text>'
        f'<rect x="{left + side + 14}" y="{top + 6 + 20 * k}" width="11" height="11" '
        f'fill="{color}"/>'
        for k, (name, color) in enumerate(zip(names, colors))
    )
    return (
        f'<svg width="{left + side + 220}" height="{top + side + 44}" role="img">{ticks}'
        f'<path d="M{point(0, 0)}L{point(1, 1)}" stroke="#999" stroke-dasharray="5 4"/>'
        f"{''.join(lines)}{legend}"
        f'<text x="{left + side / 2}" y="{top + side + 38}" text-anchor="middle">probability</text>'
        f'<text x="12" y="{top + side / 2}" text-anchor="middle" '
        f'transform="rotate(-90 12 {top + side / 2})">share that is true</text></svg>'
    )
