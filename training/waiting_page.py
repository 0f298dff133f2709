# SPDX-License-Identifier: GPL-2.0-or-later
"""The report of a training before its first epoch, after a failure, and with the final scores."""

from __future__ import annotations

import html
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

from .checkpoint import replace_file
from .live_page import REFRESH, RESULT_MARK, pill

_WAITING = Template("""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8">$refresh<title>$title</title>
<style>body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 50em }
.pill { background: #2e6fb7; color: #fff; border-radius: 1em; padding: .15em .8em }</style></head>
<body><h1>$title</h1><p>$pill</p>
$promise</body></html>
""")
_PROMISE = (
    "<p>The first score and pictures appear here after a short first epoch; the page loads itself "
    "again until then.</p>"
)


def begin_page(path: Path, title: str) -> None:
    """Write a page that waits for the first epoch, unless there is a page already."""
    if path.is_file():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    page = _WAITING.substitute(
        refresh=REFRESH, title=html.escape(title), pill=pill("running"), promise=_PROMISE
    )
    replace_file(path, lambda temporary: temporary.write_text(page, encoding="utf-8"))


def close_page(path: Path, status: str) -> None:
    """Let a page that still loads itself tell how it ended; pictures and curves stay."""
    if not path.is_file() or REFRESH not in (page := path.read_text(encoding="utf-8")):
        return
    page = page.replace(REFRESH, "").replace(pill("running"), pill(status))
    page = page.replace(_PROMISE, f"<p>{html.escape(status)}</p>")
    replace_file(path, lambda temporary: temporary.write_text(page, encoding="utf-8"))


def tell_result(path: Path, metrics: Mapping[str, Any]) -> None:
    """Put the scores of the exported model, and what they rest on, at the top of the page."""
    if not path.is_file() or "per_class" not in metrics:
        return
    page = path.read_text(encoding="utf-8")
    before, mark, after = page.partition(RESULT_MARK)
    if not mark:
        return
    after = after.partition(RESULT_MARK)[2]
    told = f"{before}{RESULT_MARK}{_result(metrics)}{RESULT_MARK}{after}"
    replace_file(path, lambda temporary: temporary.write_text(told, encoding="utf-8"))


def _result(metrics: Mapping[str, Any]) -> str:
    evidence = metrics.get("evidence", {})
    rows = "".join(
        f'<tr><td>{html.escape(name)}</td><td class="number">{_score(row["iou"])}</td>'
        f'<td class="number">{_score(row["precision"])}</td>'
        f'<td class="number">{_score(row["recall"])}</td>'
        f'<td class="number">{evidence.get("px", {}).get(name, 0):,}</td></tr>'
        for name, row in metrics["per_class"].items()
    )
    doubts = "".join(f'<p class="doubt">{html.escape(d)}.</p>' for d in metrics.get("doubts", ()))
    return (
        '<div class="card"><h2>The exported model</h2>'
        f'<p class="small">{html.escape(str(metrics.get("split", "")))}</p>{doubts}'
        '<table><tr><th>Class</th><th class="number">IoU</th><th class="number">Precision</th>'
        '<th class="number">Recall</th><th class="number">Pixels of it</th></tr>'
        f"{rows}</table></div>"
    )


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
