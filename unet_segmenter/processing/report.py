# SPDX-License-Identifier: GPL-2.0-or-later
"""HTML pages about a model and about the environment; plain enough for QGIS's own viewer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from ..engine.model_card import ModelCard, ModelClass, ModelFile
from ..engine.model_info import facts
from ..runners.environment import EnvironmentReport, PackageReport, State

_STYLE = """
body { font-family: sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; color: #222; }
h1 { font-size: 1.5em; } h2 { font-size: 1.15em; margin-top: 1.8em; }
table { border-collapse: collapse; }
th, td { text-align: left; padding: 0.25em 0.9em 0.25em 0; border-bottom: 1px solid #ddd;
         vertical-align: top; }
td.number { text-align: right; }
.swatch { display: inline-block; width: 1.6em; height: 1em; border: 1px solid #888; }
.good { color: #1a7f37; } .bad { color: #b42318; } .faint { color: #666; }
code { word-break: break-all; }
"""

_METRICS = (("iou", "IoU"), ("dice", "Dice"), ("precision", "Precision"), ("recall", "Recall"))


def model_page(card: ModelCard, problems: Mapping[str, str]) -> str:
    """The card of a model as a page.

    Parameters
    ----------
    card : ModelCard
        The model.
    problems : mapping
        What is wrong with each of its files, by name; empty texts where nothing is.
    """
    details = card.details
    return _page(
        f"{card.title}",
        [
            f"<p>{escape(card.description)}</p>",
            _facts(facts(card)),
            "<h2>Classes</h2>",
            _table(
                ["", "Value in the map", "Name", "Threshold", *(t for _, t in _METRICS)],
                [_class_row(card, c) for c in card.classes],
            ),
            _metrics_note(details.get("metrics")),
            "<h2>Files</h2>",
            _table(
                ["File", "Format", "Size", "State"],
                [_file_row(card, file, problems[file.name]) for file in card.files],
            ),
            "<h2>Sources and licence</h2>",
            f"<p>Licence of the model: {escape(card.license)}. {escape(card.citation)}</p>",
            _sources(details.get("sources")),
            "<h2>Training</h2>",
            _tree(details.get("training") or "The card says nothing about the training."),
        ],
    )


def environment_page(
    report: EnvironmentReport, training: EnvironmentReport, origin: str, version: str
) -> str:
    """The state of the engine's environment as a page.

    Parameters
    ----------
    report, training : EnvironmentReport
        What mapping needs, and what training needs beyond it.
    origin : str
        Who named the interpreter.
    version : str
        Of the plugin.
    """
    ready = report.state is State.READY
    # Who only maps needs none of the packages for training: their absence is no fault.
    absent = training.state is State.ABSENT
    note = _faint(training.message) if absent else _verdict(training.ready, training.message)
    return _page(
        "Environment of the U-Net Segmenter",
        [
            f"<p>{_verdict(ready, report.message)}</p>",
            _facts(
                {
                    "State": report.state.value,
                    "Python": str(report.python),
                    "Named by": origin,
                    "Version of Python": report.python_version or "unknown",
                    "Version of the plugin": version,
                }
            ),
            _packages("Packages", report.packages, needed=not ready),
            "<h2>Training</h2>",
            f"<p>{note}</p>",
            "" if absent else _packages("", training.packages, needed=not training.ready),
        ],
    )


def _packages(title: str, packages: Sequence[PackageReport], *, needed: bool) -> str:
    rows = [
        [
            escape(package.name),
            escape(", ".join(package.expected)),
            _package_verdict(package, needed=needed),
        ]
        for package in packages
    ]
    heading = f"<h2>{escape(title)}</h2>" if title and rows else ""
    return heading + (_table(["Package", "Expected", "Found"], rows) if rows else "")


def _package_verdict(package: PackageReport, *, needed: bool) -> str:
    if package.error:
        return _verdict(False, package.error)
    if package.found is None:
        return _verdict(not needed, "not installed" if needed else "not needed on this system")
    return _verdict(package.found in package.expected, package.found)


def _class_row(card: ModelCard, model_class: ModelClass) -> list[str]:
    metrics = card.details.get("metrics")
    per_class = metrics.get("per_class", {}) if isinstance(metrics, dict) else {}
    scores = per_class.get(model_class.name, {})
    swatch = f'<span class="swatch" style="background: {escape(model_class.color)}">&nbsp;</span>'
    return [
        swatch,
        _number(str(model_class.value)),
        escape(model_class.name),
        _number(f"{model_class.threshold:g}"),
        *(_number(_score(scores.get(key))) for key, _ in _METRICS),
    ]


def _score(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, (int, float)) else "\N{EN DASH}"


def _metrics_note(metrics: Any) -> str:
    if not isinstance(metrics, dict):
        return "<p class='faint'>The card gives no metrics.</p>"
    mean = f"Mean IoU {_score(metrics['mean_iou'])}. " if metrics.get("mean_iou") else ""
    return f"<p>{mean}Measured on: {escape(str(metrics.get('split', 'not told')))}.</p>"


def _file_row(card: ModelCard, file: ModelFile, problem: str) -> list[str]:
    there = (card.folder / file.name).is_file()
    state = problem or ("intact" if there else "left out: it is needed for training alone")
    size = _number(f"{file.size / 1e6:.1f} MB")
    return [
        f"<code>{escape(file.name)}</code>",
        escape(file.format),
        size,
        _verdict(not problem, state),
    ]


def _sources(sources: Any) -> str:
    if not isinstance(sources, list):
        return ""
    items = []
    for source in sources:
        if isinstance(source, dict):
            parts = [source.get(key) for key in ("title", "license", "citation", "url")]
            items.append(f"<li>{escape('; '.join(str(part) for part in parts if part))}</li>")
    return f"<ul>{''.join(items)}</ul>"


def _tree(value: Any) -> str:
    """Nested values of a card as nested tables; long lists in one line."""
    if isinstance(value, dict):
        return _table(
            [], [[escape(str(key).replace("_", " ")), _tree(v)] for key, v in value.items()]
        )
    if isinstance(value, list):
        return escape(", ".join(map(str, value)))
    return escape(str(value))


def _facts(told: Mapping[str, str]) -> str:
    return _table([], [[escape(name), escape(value)] for name, value in told.items()])


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "".join(
        "<tr>"
        + "".join(cell if cell.startswith("<td") else f"<td>{cell}</td>" for cell in row)
        + "</tr>\n"
        for row in rows
    )
    return f"<table>{f'<tr>{head}</tr>' if heads else ''}\n{body}</table>"


def _number(text: str) -> str:
    return f'<td class="number">{escape(text)}</td>'


def _faint(text: str) -> str:
    return f'<span class="faint">{escape(text)}</span>'


def _verdict(good: bool, text: str) -> str:
    return f'<span class="{"good" if good else "bad"}">{escape(text)}</span>'


def _page(title: str, parts: Iterable[str]) -> str:
    body = "\n".join(part for part in parts if part)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body><h1>{escape(title)}</h1>\n{body}\n</body></html>\n"
    )
