# SPDX-License-Identifier: GPL-2.0-or-later
"""The frame of the page that `live_report` fills."""

from __future__ import annotations

import html
from string import Template

REFRESH_SECONDS = 10
REFRESH = f'<meta http-equiv="refresh" content="{REFRESH_SECONDS}">'
RESULT_MARK = "<!-- result -->"
"""Before and after the scores of the exported model."""

PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
$refresh
<title>$title</title>
<style>
:root { --ink: #22272b; --soft: #6a737a; --line: #e3e6e8; --good: #2f8f4e; --run: #2e6fb7;
        --stop: #b7791f; --bad: #b83227; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); margin: 0; background: #f6f7f8; }
main { max-width: 1120px; margin: 0 auto; padding: 1.6em 1.2em 3em; }
h1 { font-size: 1.6em; margin: 0 .6em 0 0; display: inline-block; }
h2 { font-size: 1.1em; margin: 0 0 .6em; }
.lead { color: var(--soft); margin: .2em 0 1em; }
.pill { color: #fff; border-radius: 1em; padding: .15em .8em; font-size: .85em;
        vertical-align: .25em; }
.running { background: var(--run); } .finished { background: var(--good); }
.stopped { background: var(--stop); } .failed { background: var(--bad); }
.bar { height: .55em; background: var(--line); border-radius: .3em; overflow: hidden; }
.bar div { height: 100%; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: .8em;
         margin: 1em 0; }
.card { background: #fff; border: 1px solid var(--line); border-radius: .5em;
        padding: .9em 1.1em; margin-bottom: 1em; }
.tiles .card { margin: 0; }
.big { font-size: 1.55em; font-variant-numeric: tabular-nums; line-height: 1.25; }
.small { color: var(--soft); font-size: .85em; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(420px, 1fr)); gap: 1em; }
svg { width: 100%; height: auto; font: 11px system-ui, sans-serif; }
svg text { fill: var(--soft); } svg .grid { stroke: var(--line); }
svg .mark { stroke: #9aa3a9; stroke-dasharray: 2 3; }
.key { display: inline-block; margin-right: 1.1em; font-size: .88em; }
.key i { display: inline-block; width: 1.1em; height: .3em; margin-right: .4em;
         vertical-align: .2em; }
table { border-collapse: collapse; width: 100%; }
td, th { padding: .3em .9em .3em 0; text-align: left; border-bottom: 1px solid var(--line);
         font-weight: normal; vertical-align: top; }
th { color: var(--soft); } .number { text-align: right; font-variant-numeric: tabular-nums; }
.swatch { display: inline-block; width: .9em; height: .9em; border: 1px solid #8888;
          vertical-align: -1px; margin-right: .5em; }
.rows { display: grid; grid-template-columns: repeat(4, 1fr); gap: .5em; }
.rows img { width: 100%; display: block; border-radius: .25em; }
.rows b { font-weight: normal; color: var(--soft); font-size: .88em; }
.rows em { grid-column: 1 / -1; font-style: normal; color: var(--soft); font-size: .85em;
           margin-top: .3em; }
.doubt { background: #fff4d6; border-left: 4px solid #e0a100; padding: .4em .9em; }
summary { cursor: pointer; color: var(--soft); }
</style>
</head>
<body><main>
<h1>$title</h1>$pill
<p class="lead">$lead</p>
<div class="bar"><div class="$mood" style="width:$done%"></div></div>
<div class="tiles">$tiles</div>
$doubts$result
<div class="charts">
<div class="card"><h2>Loss</h2>$loss_chart<div>$loss_key</div></div>
<div class="card"><h2>Validation IoU, one-vs-rest</h2>$iou_chart<div>$iou_key</div></div>
</div>
<div class="card"><h2>Classes</h2>$classes</div>
<div class="card"><h2>Validation samples after epoch $epoch</h2>$samples</div>
<div class="card"><details><summary>Settings</summary><table>$settings</table></details></div>
</main></body>
</html>
""")


def pill(status: str) -> str:
    """Return the mark that shows in colour whether a training runs, and how it ended."""
    text = status if len(status) < 40 else _short(status)
    return f'<span class="pill {mood(status)}">{html.escape(text)}</span>'


def mood(status: str) -> str:
    """Return the style class of a status."""
    if status == "running":
        return "running"
    if status.startswith("failed"):
        return "failed"
    return "finished" if status.startswith("finished") else "stopped"


def _short(status: str) -> str:
    if status.startswith("failed"):
        return "failed"
    return "cancelled" if "cancelled" in status else status.split(":", maxsplit=1)[0]
