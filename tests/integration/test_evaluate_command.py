# SPDX-License-Identifier: GPL-2.0-or-later
"""`evaluate`, `preparedataset` and `trainmodel` on the command line: outputs and exit codes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.integration.training_samples import truth, write, write_folders, write_polygons
from unet_segmenter import cli


@pytest.fixture(autouse=True)
def interrupts():
    """Gives Ctrl-C back to the test runner, as a run takes it."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.fixture
def judged(tmp_path: Path) -> tuple[str, str, float]:
    """A map, its reference, and the share of its pixels that is right."""
    true = truth(40, 60)
    claimed = true.copy()
    claimed[:4] = 3 - claimed[:4]
    image = write(tmp_path / "map.tif", claimed[None], nodata=255)
    polygons = write_polygons(tmp_path / "truth.geojson", 40, 60)
    return str(image), str(polygons), float(np.mean(claimed == true))


def test_scores_are_told_in_lines_and_files(judged, tmp_path, capsys) -> None:
    image, polygons, right = judged
    page = tmp_path / "report.html"
    arguments = ["evaluate", image, polygons, "--field", "kind", "--class-names", "1=meadow"]
    assert cli.main([*arguments, "2=road", "--html", str(page)]) == 0
    told = capsys.readouterr().out
    assert f"overall_accuracy: {right:.4f}" in told
    assert f"HTML: {page}" in told
    assert "meadow" in page.read_text(encoding="utf-8")


def test_scores_are_told_as_json(judged, capsys) -> None:
    image, polygons, right = judged
    names = ["--class-names", "1=meadow,2=road"]
    assert cli.main(["evaluate", image, polygons, "--field", "kind", *names, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["overall_accuracy"] == pytest.approx(right)
    assert [one["name"] for one in result["classes"]] == ["meadow", "road"]


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("evaluate {map} {map}/gone.tif", 3, "gone.tif"),
        ("evaluate {map} {polygons}", 2, "name the FIELD"),
        ("preparedataset folders {folder}/gone {folder}/set", 3, "gone"),
        ("preparedataset folders {folder} {folder}/set --fractions 1/2", 2, "FRACTIONS"),
        ("trainmodel {folder} {folder}/model", 3, "no prepared data set"),
    ],
)
def test_an_error_is_one_sentence_with_its_exit_code(
    judged, tmp_path, capsys, command, code, words
) -> None:
    image, polygons, _ = judged
    places = {"map": image, "polygons": polygons, "folder": str(tmp_path)}
    arguments = [part.format(**places) for part in command.split()]
    assert cli.main([*arguments, "--quiet"]) == code
    (line,) = [text for text in capsys.readouterr().err.splitlines() if "error: " in text]
    assert words in line


def test_preparing_tells_what_was_made(tmp_path, capsys) -> None:
    views = write_folders(tmp_path / "views")
    flags = ["--classes", "meadow,road", "--split", "random", "--fractions", "50/50"]
    assert cli.main(["preparedataset", "folders", str(views), str(tmp_path / "set"), *flags]) == 0
    printed = capsys.readouterr()
    assert f"OUTPUT: {tmp_path / 'set'}" in printed.out
    assert "6 samples: 3 train, 3 validation; split by random" in printed.out
    assert "classes: meadow, road" in printed.out
    assert re.search(r"^\[0/\d+\] reading samples$", printed.err, re.MULTILINE), "no terminal"


def test_an_interrupt_ends_preparing_within_two_seconds_and_leaves_nothing(tmp_path) -> None:
    views = write_folders(tmp_path / "views", count=40, size=(75, 100))
    command = ["preparedataset", "folders", str(views), str(tmp_path / "set")]
    flags = ["--classes", "meadow", "road", "--size", "1600x1200"]
    process = subprocess.Popen(
        [sys.executable, "-m", "unet_segmenter", *command, *flags],
        cwd=Path(cli.__file__).parents[1],
        env={**os.environ, "LC_ALL": "C.UTF-8"},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        while "reading samples" not in process.stderr.readline():
            assert process.poll() is None
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        told = time.monotonic()
        assert process.wait(10) == 130
        assert time.monotonic() - told < 2
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
    assert not (tmp_path / "set").exists()
