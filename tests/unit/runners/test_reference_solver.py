# SPDX-License-Identifier: GPL-2.0-or-later
"""The optional solver: told where it is absent, tried once, and never a failure of the set-up."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from unet_segmenter.engine.errors import RuntimeMissingError
from unet_segmenter.engine.progress import SilentProgress
from unet_segmenter.runners import environment_setup, reference_solver
from unet_segmenter.runners.environment_check import read_lock


def test_its_lock_holds_it_alone() -> None:
    assert [p.name for p in read_lock(reference_solver.optional_lock())] == ["pydensecrf2"]


def test_an_absent_one_is_told_with_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference_solver, "has_reference_solver", lambda *_: False)
    message = reference_solver.reference_message(Path("/opt/python"))
    assert "optional" in message
    assert "C++ compiler" in message
    assert "/opt/python -m pip install --no-build-isolation pydensecrf2" in message


def test_a_python_that_does_not_start_has_none() -> None:
    assert not reference_solver.has_reference_solver(Path("/no/such/python"))
    assert isinstance(reference_solver.has_reference_solver(Path(sys.executable)), bool)


def test_a_build_that_fails_is_told_and_not_tried_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    builds = []

    def fail(*arguments: object, from_source: bool = False) -> None:
        builds.append((Path(str(arguments[1])).name, from_source))
        if from_source:
            raise RuntimeMissingError("There is no compiler.")

    monkeypatch.setattr(environment_setup, "install", fail)
    monkeypatch.setattr(reference_solver, "has_reference_solver", lambda *_: False)
    progress = SilentProgress()
    assert "optional" in reference_solver.try_reference_solver(tmp_path, progress)
    assert progress.messages == [("info", "There is no compiler.")]
    assert reference_solver.try_reference_solver(tmp_path, progress) == ""
    assert builds == [("build.txt", False), ("optional.txt", True)]


def test_it_is_built_with_a_cython_that_knows_new_pythons() -> None:
    locked = {p.name: p.versions[0] for p in read_lock(reference_solver.build_lock())}
    assert set(locked) >= {"cython", "setuptools"}
    assert tuple(map(int, locked["cython"].split(".")[:2])) >= (3, 1)
