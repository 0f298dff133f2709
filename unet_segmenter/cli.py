# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line: the names of the Processing algorithms, without QGIS."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from .engine.errors import Cancelled, ModelError, SegmenterError
from .engine.job import PRECISIONS, PROBABILITY_TYPES, RUNTIMES, JobResult, JobSpec
from .engine.model_card import ModelCard
from .engine.model_library import ModelLibrary, default_library
from .engine.progress import Level
from .runners import environment, in_process
from .version import plugin_version

DEFAULT_MODEL = "aeroscapes"

_SECONDS_TO_STOP = 1.5


class TerminalProgress:
    """A progress bar on standard error; Ctrl-C asks to stop, twice stops at once."""

    def __init__(self, *, quiet: bool) -> None:
        from tqdm import tqdm

        self._bar = tqdm(total=None, unit="block", disable=quiet, file=sys.stderr, leave=True)
        self._quiet = quiet
        self._cancelled = False

    def advance(self, done: int, total: int, message: str | None = None) -> None:
        """Move the bar."""
        if self._bar.total != total:
            # Blocks taken over from an interrupted run say nothing about the speed of this one.
            self._bar.reset(total)
            self._bar.initial = done
            self._bar.n = done
        self._bar.update(done - self._bar.n)
        if message:
            self._bar.set_postfix_str(message)

    def log(self, level: Level, message: str) -> None:
        """Write a line above the bar."""
        if level != "info" or not self._quiet:
            prefix = "" if level == "info" else f"{level}: "
            self._bar.write(f"{prefix}{message}", file=sys.stderr)

    def cancelled(self) -> bool:
        """Whether Ctrl-C was pressed."""
        return self._cancelled

    def close(self) -> None:
        """Leave the terminal in order."""
        self._bar.close()

    def on_interrupt(self, signum: int, frame: FrameType | None) -> None:
        """Take note of Ctrl-C."""
        if self._cancelled:
            os._exit(Cancelled.exit_code)
        self._cancelled = True
        # A native call cannot be interrupted; nothing under an output's name is ever unfinished.
        last_resort = threading.Timer(_SECONDS_TO_STOP, os._exit, (Cancelled.exit_code,))
        last_resort.daemon = True
        last_resort.start()


class LineProgress:
    """Messages as lines on standard error, for a Python that has no progress bar yet."""

    def __init__(self) -> None:
        self._message: str | None = None

    def advance(self, done: int, total: int, message: str | None = None) -> None:
        """Print a new stage."""
        if message and message != self._message:
            print(f"[{done}/{total}] {message}", file=sys.stderr)
            self._message = message

    def log(self, level: Level, message: str) -> None:
        """Print a sentence."""
        print(message if level == "info" else f"{level}: {message}", file=sys.stderr)

    def cancelled(self) -> bool:
        """Ctrl-C raises KeyboardInterrupt instead."""
        return False


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns
    -------
    int
        0, or the `exit_code` of the error: 2 parameter, 3 input, 4 model, 5 environment,
        6 output, 130 cancelled, 1 anything else.
    """
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.run
    try:
        return command(options)
    except SegmenterError as error:
        _tell_error(error, as_json=options.json)
        if isinstance(error, Cancelled):
            # A native call may still be running in a thread that would be waited for.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(error.exit_code)
        return error.exit_code
    except KeyboardInterrupt:
        return Cancelled.exit_code
    except Exception as error:  # noqa: BLE001 - the last resort: told in full, and not hidden
        traceback.print_exc()
        _tell_error(SegmenterError(f"Unexpected error: {error}"), as_json=options.json)
        return SegmenterError.exit_code


def _segment(options: argparse.Namespace) -> int:
    job = JobSpec(
        input=_absolute(options.input),
        output=_absolute(options.output),
        model=options.model_file or options.model,
        classes=_names(options.classes),
        bands=tuple(options.bands or ()),
        extent=tuple(options.extent) if options.extent else None,
        aoi=options.aoi,
        threshold=options.threshold,
        runtime=options.runtime,
        precision=options.precision,
        tta=options.tta,
        block_size=options.block_size,
        batch=options.batch,
        halo=options.halo,
        probability=options.probability and _absolute(options.probability),
        probability_type=options.probability_type,
        confidence=options.confidence and _absolute(options.confidence),
        summary=options.summary and _absolute(options.summary),
        resume=not options.no_resume,
    )
    progress = TerminalProgress(quiet=options.json or options.quiet)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, progress.on_interrupt)
    try:
        result = in_process.run(job, progress)
    finally:
        progress.close()
    if options.json:
        _print_json(result.to_json())
    else:
        _tell_result(result)
    return 0


def _modelinfo(options: argparse.Namespace) -> int:
    library = default_library()
    if options.model is None:
        cards = _readable_cards(library)
        if options.json:
            _print_json([_described(card) for card in cards])
        for card in cards if not options.json else ():
            print(f"{card.name}: {card.title} ({', '.join(c.name for c in card.classes)})")
        return 0
    described = _described(library.load(options.model))
    if options.json:
        _print_json(described)
    else:
        for key, value in described.items():
            print(f"{key}: {value if isinstance(value, (str, int)) else json.dumps(value)}")
    return 0


def _readable_cards(library: ModelLibrary) -> list[ModelCard]:
    """All cards; a broken one is told and does not hide the others."""
    cards = []
    for name in library.names():
        try:
            cards.append(library.load(name))
        except ModelError as error:  # noqa: PERF203 - a handful of models
            print(f"warning: {error}", file=sys.stderr)
    return cards


def _checkenvironment(options: argparse.Namespace) -> int:
    report = environment.verify_environment(Path(sys.executable))
    if options.json:
        _print_json({"ready": report.ready, "python": sys.executable, "message": report.message})
    else:
        print(report.message)
    return 0 if report.ready else 5


def _setupenvironment(options: argparse.Namespace) -> int:
    target = (options.target or environment.default_location()).absolute()
    report = environment.create_environment(
        target, LineProgress(), lock=environment.engine_lock(), base=options.base
    )
    if options.json:
        _print_json({"ready": report.ready, "python": str(report.python)})
    else:
        print(report.message)
    return 0


def _described(card: ModelCard) -> dict[str, Any]:
    return {
        "name": card.name,
        "version": card.version,
        "title": card.title,
        "description": card.description,
        "license": card.license,
        "citation": card.citation,
        "folder": str(card.folder),
        "bands": list(card.input.bands),
        "data_type": list(card.input.data_type),
        "value_range": list(card.input.value_range),
        "gsd_range": card.input.gsd_range and list(card.input.gsd_range),
        "classes": [{"value": c.value, "name": c.name, "color": c.color} for c in card.classes],
        "halo": card.halo,
        "divisor": card.divisor,
        **{key: card.details[key] for key in ("training", "metrics") if key in card.details},
    }


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print the result as JSON")
    parser = argparse.ArgumentParser(
        prog="python -m unet_segmenter",
        description="Turns aerial rasters into land-cover maps with U-Nets.",
    )
    parser.add_argument("--version", action="version", version=plugin_version())
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_segment(commands.add_parser("segment", parents=[common], help="one model over a raster"))
    info = commands.add_parser(
        "modelinfo",
        aliases=["models"],
        parents=[common],
        help="what models there are, or what one is",
    )
    info.add_argument("model", nargs="?", help="a model's name or folder; all models without it")
    info.set_defaults(run=_modelinfo)
    check = commands.add_parser(
        "checkenvironment", aliases=["check"], parents=[common], help="is all installed?"
    )
    check.set_defaults(run=_checkenvironment)
    setup = commands.add_parser(
        "setupenvironment", parents=[common], help="make the engine's Python environment"
    )
    setup.add_argument("--target", type=Path, help="its folder (default: in the user's data)")
    setup.add_argument("--base", type=Path, help="the Python to make it from")
    setup.set_defaults(run=_setupenvironment)
    return parser


def _add_segment(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("input", help="raster to segment")
    add("output", help="mask to write (uint8; 255 = nodata)")
    add("--model", default=DEFAULT_MODEL, help="name of a model (default: %(default)s)")
    add("--model-file", help="a model's folder or file; wins over --model")
    add("--classes", nargs="+", default=[], help="classes wanted; one gives a binary mask 0/1")
    add("--bands", nargs="+", type=int, help="the raster's bands (from 1) in the model's order")
    add(
        "--extent",
        nargs=4,
        type=float,
        metavar=("XMIN", "YMIN", "XMAX", "YMAX"),
        help="part to segment, in the raster's CRS",
    )
    add("--aoi", help="polygon layer; outside of it the mask is nodata")
    add("--threshold", type=float, help="probability from which a pixel belongs to a class")
    add("--runtime", choices=RUNTIMES, default="auto", help="what runs the network")
    add("--precision", choices=PRECISIONS, default="auto", help="arithmetic of the network")
    add("--tta", action="store_true", help="average over four flips: slower, a little better")
    add("--probability", help="raster of probabilities to write, a band a class")
    add("--probability-type", choices=PROBABILITY_TYPES, default="uint8", help="its data type")
    add("--confidence", help="raster of confidences to write")
    add("--summary", help="HTML report to write, with a quick look beside it")
    add("--block-size", type=int, help="side in px of what a block writes")
    add("--batch", type=int, help="blocks a call of the network")
    add("--halo", type=int, help="context in px around a block (default: the model's)")
    add("--no-resume", action="store_true", help="start anew instead of taking up an old run")
    add("--quiet", action="store_true", help="no progress bar")
    parser.set_defaults(run=_segment)


def _names(parts: list[str]) -> tuple[str, ...]:
    names = (name.strip() for part in parts for name in part.split(","))
    return tuple(name for name in names if name)


def _absolute(path: str) -> str:
    """An absolute path for a local file; other sources (/vsis3/, URLs) as they are."""
    return str(Path(path).absolute()) if Path(path).exists() or "/" not in path else path


def _tell_result(result: JobResult) -> None:
    for name, path in result.outputs.items():
        print(f"{name}: {path}")
    covered = max(result.pixels - result.nodata_pixels, 1)
    for area in result.areas:
        print(f"  {area.name}: {area.pixels / covered:.1%} {area.area_text}".rstrip())
    print(f"{result.seconds:.1f} s with {result.runtime} ({result.precision})")


def _tell_error(error: SegmenterError, *, as_json: bool) -> None:
    if as_json:
        content = {"kind": type(error).__name__, "code": error.exit_code, "message": str(error)}
        _print_json({"error": content})
    print(f"error: {error}", file=sys.stderr)


def _print_json(content: object) -> None:
    print(json.dumps(content, indent=2))
