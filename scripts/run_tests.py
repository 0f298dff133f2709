# SPDX-License-Identifier: GPL-2.0-or-later
"""Run the test suite in its two environments, one after the other, and sum it up.

    python scripts/run_tests.py [--long | --backends]

The tests of engine, training and whole programs run in the development environment, which has
no PyQGIS; those in tests/qgis run in QGIS's own Python, which has none of the engine's packages.
With --backends, those tests of training run that hold on each backend of Keras, on JAX and PyTorch.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts import set_up  # noqa: E402

# Environment -> what is tested in it.
SUITES = {
    "dev": ("tests/unit", "tests/training", "tests/integration"),
    "qgis": ("tests/qgis",),
}
BACKENDS = ("jax", "torch")
BACKEND_TESTS = tuple(
    f"tests/training/test_{name}.py"
    for name in (
        "backends", "export", "fit", "optimizers", "presets", "resume", "train", "transfer", "unet",
    )
)  # fmt: skip
LONGEST = 3600  # s: no suite takes half as long


def run_suite(
    name: str, folders: tuple[str, ...], marks: str, python: Path, **more: str
) -> tuple[bool, str]:
    """Run pytest with `python`; return whether it passed, and a line about it."""
    report = set_up.BUILD / f"tests-{name}.xml"
    report.unlink(missing_ok=True)
    command = [str(python), "-m", "pytest", "-q", "-m", marks]
    command += [f"--junitxml={report}", "-o", f"cache_dir=.build/pytest-{name}", *folders]
    start = time.monotonic()
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **set_up.variables(), **more},
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    ) as child:
        try:
            code = child.wait(timeout=LONGEST)
        except BaseException as error:
            os.killpg(child.pid, signal.SIGKILL)
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            return False, f"{name}: stopped after {LONGEST} s; a test hangs"
    return code == 0, f"{name}: {counts(report)} in {time.monotonic() - start:.0f} s, exit {code}"


def run_backend(name: str) -> tuple[bool, str]:
    """Run the tests of training on one backend of Keras, if it is installed."""
    if importlib.util.find_spec(name) is None:
        return True, f"{name}: not installed, so not tested"
    python = set_up.interpreter("backends")
    return run_suite(name, BACKEND_TESTS, "not slow", python, KERAS_BACKEND=name)


def counts(report: Path) -> str:
    """What a report of pytest counts, in words."""
    if not report.is_file():
        return "pytest did not run"
    suite = ET.parse(report).getroot().find("testsuite")
    if suite is None:
        return "nothing was run"
    total, failed, errors, skipped = (
        int(suite.get(key, "0")) for key in ("tests", "failures", "errors", "skipped")
    )
    passed = total - failed - errors - skipped
    return f"{passed} passed, {failed + errors} failed, {skipped} skipped"


def main(arguments: list[str]) -> int:
    """Run all suites, whatever the first one gives; return 1 if one failed."""
    if "--backends" in arguments:
        results = [run_backend(name) for name in BACKENDS]
    else:
        marks = "slow" if "--long" in arguments else "not slow"
        results = [
            run_suite(name, folders, marks, set_up.interpreter(name))
            for name, folders in SUITES.items()
        ]
    print("\nSummary of the tests")
    for passed, line in results:
        print(f"  {'ok    ' if passed else 'FAILED'} {line}")
    return 0 if all(passed for passed, _ in results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
