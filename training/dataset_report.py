# SPDX-License-Identifier: GPL-2.0-or-later
"""The page that shows what a prepared data set is: pictures, balance, split and leak."""

from __future__ import annotations

import base64
import html
from collections import Counter
from pathlib import Path
from string import Template
from typing import Any

from .balance import doubts, labelled_share
from .contact_sheet import draw_pairs
from .dataset import SPLITS, Dataset
from .leak import Leak

_PICTURED = 6  # suspicious pairs

_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>$title</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 1000px; margin: 2em auto;
       padding: 0 1em; }
h1 { font-size: 1.6em; margin-bottom: .2em; } h2 { font-size: 1.15em; margin-top: 2em; }
.lead { color: #555; margin-top: 0; }
table { border-collapse: collapse; width: 100%; }
td, th { padding: .35em 1em .35em 0; text-align: left; border-bottom: 1px solid #e2e2e2;
         vertical-align: top; font-weight: normal; }
thead th { color: #555; border-bottom: 2px solid #ccc; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
.swatch { display: inline-block; width: 1em; height: 1em; border: 1px solid #888;
          vertical-align: -2px; margin-right: .5em; }
.stack { display: flex; height: 1.4em; border: 1px solid #bbb; margin: .2em 0 .8em; }
.stack span { display: block; height: 100%; }
.warning { background: #fff4d6; border-left: 4px solid #e0a100; padding: .5em 1em; margin: .5em 0; }
.good { background: #e7f5ea; border-left: 4px solid #3a9a55; padding: .5em 1em; margin: .5em 0; }
img { width: 100%; border: 1px solid #ddd; }
code { background: #f3f3f3; padding: 0 .3em; }
</style>
</head>
<body>
<h1>$title</h1>
<p class="lead">$lead</p>
$warnings
<img alt="Samples, each beside its mask" src="data:image/png;base64,$picture">
<h2>Class balance</h2>
$balance
<h2>Does the split leak?</h2>
$leak
<h2>How it was made</h2>
<table>
$facts
</table>
</body>
</html>
""")


def write_report(dataset: Dataset, path: Path) -> None:
    """Write the page, with the contact sheet inside; it needs no other file and no network."""
    picture = base64.b64encode((dataset.folder / "contact_sheet.png").read_bytes()).decode()
    leak = dataset.details["split"]["leak"]
    page = _PAGE.substitute(
        title=html.escape(dataset.title),
        lead=html.escape(_lead(dataset)),
        warnings="\n".join(f'<p class="warning">{html.escape(w)}</p>' for w in _warnings(dataset)),
        picture=picture,
        balance=_balance(dataset),
        leak=_leak(leak) + _suspicious(dataset, leak),
        facts="\n".join(
            f"<tr><td>{html.escape(name)}</td><td>{html.escape(value)}</td></tr>"
            for name, value in _facts(dataset)
        ),
    )
    path.write_text(page, encoding="utf-8")


def balance_table(dataset: Dataset) -> str:
    """Return samples and shares of each class by side, as lines of text."""
    lines = [f"{'':24}" + "".join(f"{side:>22}" for side in dataset.details["balance"])]
    sides = dataset.details["balance"].values()
    lines.append(f"{'samples':24}" + "".join(f"{row['samples']:>22,}" for row in sides))
    lines.append(f"{'labelled':24}" + "".join(f"{labelled_share(row):>22.2%}" for row in sides))
    if all("polygons" in row for row in sides):
        lines.append(f"{'polygons':24}" + "".join(f"{row['polygons']:>22,}" for row in sides))
    for cls in dataset.classes:
        cells = [
            f"{_share_known(row['classes'][cls.name]):7.2%} in "
            f"{row['classes'][cls.name]['samples']:>5,}"
            for row in sides
        ]
        lines.append(f"{cls.name:24}" + "".join(f"{cell:>22}" for cell in cells))
    return "\n".join(lines)


def _share_known(cls: dict[str, int]) -> float:
    """Return the share of the pixels that say whether a class is there in which it is."""
    return cls["px"] / max(cls["px"] + cls["not_px"], 1)


def _lead(dataset: Dataset) -> str:
    sides = ", ".join(
        f"{len(dataset.split(side)):,} {side}" for side in SPLITS if dataset.split(side)
    )
    count = len(dataset.classes)
    return f"{sides}; {count} class{'es' if count > 1 else ''}; {labels_in_words(dataset)}"


def labels_in_words(dataset: Dataset) -> str:
    """Return how much is labelled, and by how many polygons on each side."""
    balance = dataset.details["balance"]
    total = {key: sum(row[key] for row in balance.values()) for key in ("total_px", "ignored_px")}
    share = labelled_share(total)
    polygons = [(side, row["polygons"]) for side, row in balance.items() if "polygons" in row]
    told = f"{share:.2%} of the pixels labelled" if share < 0.1 else f"{share:.0%} labelled"
    if polygons:
        told += ", by polygons (" + ", ".join(f"{n} {side}" for side, n in polygons) + ")"
    if dataset.details.get("labelled") == "samples":
        told += "; samples only: pixels outside the polygons are ignored"
    return told


def _warnings(dataset: Dataset) -> list[str]:
    found = doubts(dataset.details["balance"], [cls.name for cls in dataset.classes])
    return [f"{doubt[0].upper()}{doubt[1:]}." for doubt in found]


def _balance(dataset: Dataset) -> str:
    balance = dataset.details["balance"]
    bars = []
    for side, row in balance.items():
        parts = [
            (cls.name, cls.color, _share_of_all(row, row["classes"][cls.name]["px"]))
            for cls in dataset.classes
        ]
        parts.append(("none of these", "#ffffff", _share_of_all(row, row["none_px"])))
        spans = "".join(
            f'<span style="width:{100 * share:.3f}%;background:{color}" '
            f'title="{html.escape(name)} {share:.1%}"></span>'
            for name, color, share in parts
        )
        bars.append(f'{side}<div class="stack">{spans}</div>')
    head = "".join(
        f'<th class="number">{side}, px</th><th class="number">of labelled</th>'
        '<th class="number">samples with it</th>'
        for side in balance
    )
    rows = [
        f'<tr><td><span class="swatch" style="background:{cls.color}"></span>'
        f"{html.escape(cls.name)} ({cls.value})</td>"
        + "".join(_cells(row, **row["classes"][cls.name]) for row in balance.values())
        + "</tr>"
        for cls in dataset.classes
    ]
    for key, name in (("none_px", "none of these (0)"), ("ignored_px", "unlabelled (255)")):
        cells = "".join(
            f'<td class="number">{row[key] / max(row["total_px"], 1):.1%}</td><td></td><td></td>'
            for row in balance.values()
        )
        rows.append(f'<tr><td><span class="swatch"></span>{name}</td>{cells}</tr>')
    return (
        "\n".join(bars)
        + f"<table><thead><tr><th>Class</th>{head}</tr></thead>\n"
        + "\n".join(rows)
        + "</table><p>A class's share is of the pixels that say whether it is there; how many say "
        "so is the second number. The last two rows are shares of all pixels.</p>"
    )


def _cells(row: dict[str, Any], px: int, samples: int, not_px: int, polygons: int = -1) -> str:
    drawn = f", {polygons:,} polygons" if polygons >= 0 else ""
    return (
        f'<td class="number">{px / max(px + not_px, 1):.1%}</td>'
        f'<td class="number">{(px + not_px) / max(row["total_px"], 1):.1%}</td>'
        f'<td class="number">{samples:,} of {row["samples"]:,}{drawn}</td>'
    )


def _share_of_all(row: dict[str, Any], px: int) -> float:
    """Return the share of the pixels that are not unlabelled."""
    return px / max(row["total_px"] - row["ignored_px"], 1)


def _leak(found: dict[str, Any]) -> str:
    leak = Leak.from_dict(found)
    verdict = (
        f'<p class="warning">{html.escape(leak.warning[0].upper() + leak.warning[1:])}.</p>'
        if leak.warning
        else '<p class="good">No sign of a leak was found.</p>'
    )
    rows = "\n".join(
        f"<tr><td>{html.escape(a)}</td><td>{html.escape(b)}</td>"
        f'<td class="number">{value:.3f}</td></tr>'
        for a, b, value in leak.pairs
    )
    places = (
        ""
        if leak.same_place is None
        else "<p>Of a few held-out samples that were looked at more closely, "
        f"{leak.same_place:.0%} show a place that a similar training sample shows too.</p>"
    )
    return (
        f"{verdict}{places}<p>{leak.share:.1%} of the samples held out have a training sample that "
        f"is as like them as {leak.threshold:.2f} (1: the same picture). The median held-out "
        f"sample is like its nearest training sample to {leak.across:.2f}; the median training "
        f"sample is like the nearest other one to {leak.within:.2f}. The most similar pairs:</p>"
        '<table><thead><tr><th>held out</th><th>training</th><th class="number">similarity</th>'
        f"</tr></thead>\n{rows}</table>"
    )


def _suspicious(dataset: Dataset, found: dict[str, Any]) -> str:
    """Return a picture of the pairs that are over the threshold, or ""."""
    pairs = [(a, b, f"alike to {v:.2f}") for a, b, v in found["pairs"] if v >= found["threshold"]]
    pairs = pairs[: _PICTURED // 2]
    pairs += [(a, b, f"{n} keypoints") for a, b, n in found.get("same_place_pairs", ())]
    if not pairs:
        return ""
    path = dataset.folder / "pairs.part.png"
    try:
        draw_pairs(dataset, pairs[:_PICTURED], path)
        encoded = base64.b64encode(path.read_bytes()).decode()
    finally:
        path.unlink(missing_ok=True)
    return f'<p><img alt="Suspicious pairs" src="data:image/png;base64,{encoded}"></p>'


def _facts(dataset: Dataset) -> list[tuple[str, str]]:
    details = dataset.details
    sizes = Counter((sample.width, sample.height) for sample in dataset.samples)
    groups = {sample.group for sample in dataset.samples if sample.group}
    sources = [
        f"{one['name']} ({one['reader']}): "
        + ", ".join(f"{name} as {ours}" for name, ours in one["classes"].items() if ours)
        for one in details["sources"]
    ]
    method = details["split"]["method"]
    return [
        ("Sources", "; ".join(sources)),
        ("Sizes", ", ".join(f"{n:,} of {w}x{h} px" for (w, h), n in sizes.most_common(3))),
        ("Bands", f"{', '.join(dataset.bands)} ({dataset.data_type})"),
        ("Ground sampling distance", f"{dataset.gsd:g} m" if dataset.gsd else "unknown"),
        ("Split", f"by {method}, seed {details['split']['seed']}; {len(groups)} groups"),
        *[("", note) for note in details["split"]["notes"]],
        ("Licence", details["license"] or "not told"),
        ("To cite", details["citation"] or "-"),
    ]
