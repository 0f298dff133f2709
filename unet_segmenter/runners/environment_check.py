# SPDX-License-Identifier: GPL-2.0-or-later
"""Looks into the engine's Python environment: what is installed, and whether it works."""

from __future__ import annotations

import enum
import hashlib
import json
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..engine.errors import RuntimeMissingError
from ..engine.model_library import resources_folder
from ..engine.remedies import set_up
from .child_environment import scrubbed_environment

STAMP_NAME = "complete.json"
PROBE_SECONDS = 180

# What the engine imports: the packages of requirements/engine.in, and their modules.
ENGINE_MODULES: Mapping[str, str] = {
    "numba": "numba",
    "numpy": "numpy",
    "onnxruntime": "onnxruntime",
    "openvino": "openvino",
    "pillow": "PIL",
    "pyogrio": "pyogrio",
    "rasterio": "rasterio",
    "scikit-image": "skimage",
    "shapely": "shapely",
    "tqdm": "tqdm",
}

REMEDY = set_up()

# Runs in the environment, so it knows the standard library alone. It tells each package before
# it imports it: when a native library kills the process, the last line names the culprit.
_PROBE = """
import importlib, importlib.metadata, json, sys
names, modules = json.loads(sys.argv[1])
sys.modules["openvino_telemetry"] = None  # OpenVINO reports its import through it
def tell(**message):
    print("probe:" + json.dumps(message), flush=True)
tell(python=sys.version.split()[0])
for name in names:
    try:
        tell(name=name, version=importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        pass
for name, module in modules.items():
    tell(importing=name)
    try:
        importlib.import_module(module)
    except BaseException as error:
        tell(name=name, error=f"{type(error).__name__}: {error}"[:500])
tell(finished=True)
"""


class State(enum.Enum):
    """How an environment is; only a READY or an UNCHECKED one can be tried."""

    READY = "ready"
    UNCHECKED = "unchecked"
    ABSENT = "absent"
    INCOMPLETE = "half installed"
    WRONG_VERSIONS = "wrong versions"
    BROKEN = "broken"


@dataclass(frozen=True)
class LockedPackage:
    """One entry of a lock: a package, its versions, and whether every platform needs it."""

    name: str
    versions: tuple[str, ...]
    required: bool


@dataclass(frozen=True)
class PackageReport:
    """One package of the lock as it is in an environment."""

    name: str
    expected: tuple[str, ...]
    found: str | None
    error: str | None = None


@dataclass(frozen=True)
class EnvironmentReport:
    """What `verify_environment` saw; `message` is one sentence, with the remedy if any."""

    python: Path
    state: State
    message: str
    python_version: str | None = None
    packages: tuple[PackageReport, ...] = ()

    @property
    def ready(self) -> bool:
        """Whether a job can run there as it was tested."""
        return self.state is State.READY

    def require(self) -> Path:
        """Path of the interpreter.

        Raises
        ------
        RuntimeMissingError
            If the environment is not ready.
        """
        if not self.ready:
            raise RuntimeMissingError(self.message)
        return self.python


def engine_lock() -> Path:
    """Path of the engine's lock: inside the installed plugin, or beside it in a checkout."""
    return resources_folder() / "requirements" / "engine.txt"


def lock_hash(lock: Path) -> str:
    """SHA-256 of a lock's text, in hexadecimal; line endings do not count.

    Raises
    ------
    RuntimeMissingError
        If the lock cannot be read.
    """
    return hashlib.sha256(_lock_text(lock).encode()).hexdigest()


def read_lock(lock: Path) -> tuple[LockedPackage, ...]:
    """Packages of a lock, in its order.

    Raises
    ------
    RuntimeMissingError
        If the lock cannot be read.
    """
    versions: dict[str, list[str]] = {}
    optional: set[str] = set()
    for line in _lock_text(lock).splitlines():
        entry = re.match(r"([A-Za-z0-9._-]+)==([^\s;\\]+)\s*(;)?", line)
        if entry:
            versions.setdefault(entry[1], []).append(entry[2])
            if entry[3]:
                optional.add(entry[1])
    return tuple(
        LockedPackage(name, tuple(found), name not in optional) for name, found in versions.items()
    )


def environment_python(folder: Path, *, windows: bool = os.name == "nt") -> Path:
    """Path of the interpreter of the virtual environment in `folder`."""
    return folder / ("Scripts/python.exe" if windows else "bin/python")


def is_complete(folder: Path, lock: Path, stamp_name: str = STAMP_NAME) -> bool:
    """Whether the set-up of the environment in `folder` from `lock` came to its end.

    Starts nothing. False also where the interpreter that it was made from is gone or is
    another one now (an upgrade of the system).
    """
    try:
        stamp = json.loads((folder / stamp_name).read_text(encoding="utf-8"))
        return bool(stamp == _stamp(folder, lock, stamp["python_version"]))
    except (OSError, ValueError, TypeError, KeyError):
        return False


def write_stamp(
    folder: Path, lock: Path, report: EnvironmentReport, stamp_name: str = STAMP_NAME
) -> None:
    """Declare that the environment in `folder` holds the lock's packages, all of them."""
    partial = folder / (stamp_name + ".partial")
    stamp = _stamp(folder, lock, report.python_version)
    partial.write_text(json.dumps(stamp, indent=1) + "\n", encoding="utf-8")
    partial.replace(folder / stamp_name)


def _stamp(folder: Path, lock: Path, python_version: object) -> dict[str, object]:
    interpreter = environment_python(folder).resolve(strict=True)
    return {
        "lock_sha256": lock_hash(lock),
        "interpreter": str(interpreter),
        "python_version": python_version,
    }


def verify_environment(
    python: str | os.PathLike[str],
    *,
    lock: Path | None = None,
    modules: Mapping[str, str] = ENGINE_MODULES,
    environ: Mapping[str, str] = os.environ,
    remedy: str = REMEDY,
    what: str = "the plugin",
) -> EnvironmentReport:
    """Start `python` and compare its packages with the lock; import those of `modules`.

    Takes a few seconds. Nothing is installed or changed.

    Parameters
    ----------
    python : path
        An interpreter, usually of a virtual environment.
    lock : Path, optional
        Lock to compare with; None takes the engine's.
    modules : mapping
        Package to module, for the packages that must also be importable.
    environ : mapping
        The parent's environment; the child gets a scrubbed copy.
    remedy : str
        What to do where something is missing: the end of the report's message.
    what : str
        Who needs the packages: "the plugin" or "training".

    Returns
    -------
    EnvironmentReport
    """
    python = Path(python)
    if not python.exists():
        message = f"There is no Python at {python}. {remedy}"
        return EnvironmentReport(python, State.ABSENT, message)
    locked = read_lock(lock or engine_lock())
    request = json.dumps([[package.name for package in locked], dict(modules)])
    try:
        child = subprocess.run(
            [str(python), "-I", "-c", _PROBE, request],
            env=scrubbed_environment(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=PROBE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        message = f"{python} does not start ({error}). {remedy}"
        return EnvironmentReport(python, State.BROKEN, message)
    state, sentence, version, packages = _judge(locked, child, what)
    ending = "" if state is State.READY else f" {remedy}"
    return EnvironmentReport(python, state, f"{python} {sentence}{ending}", version, packages)


def _lock_text(lock: Path) -> str:
    try:
        return lock.read_text(encoding="utf-8")
    except OSError as error:
        raise RuntimeMissingError(
            f"The list of the engine's packages {lock} cannot be read ({error.strerror}). "
            "Install the plugin again."
        ) from error


def _judge(
    locked: tuple[LockedPackage, ...], child: subprocess.CompletedProcess[str], what: str
) -> tuple[State, str, str | None, tuple[PackageReport, ...]]:
    """State, a sentence without its subject, Python's version, and what is of each package."""
    told = [json.loads(line[6:]) for line in child.stdout.splitlines() if line[:6] == "probe:"]
    found = {m["name"]: m["version"] for m in told if "version" in m}
    errors = {m["name"]: m["error"] for m in told if "error" in m}
    version = next((m["python"] for m in told if "python" in m), None)
    packages = tuple(
        PackageReport(p.name, p.versions, found.get(p.name), errors.get(p.name)) for p in locked
    )
    missing = [p.name for p in locked if p.required and p.name not in found]
    wrong = [p for p in packages if p.found is not None and p.found not in p.expected]

    if version is not None and missing:
        state = State.INCOMPLETE if found else State.ABSENT
        sentence = _missing_sentence(missing, len(locked), what)
    elif not any("finished" in m for m in told):
        culprit = next((m["importing"] for m in reversed(told) if "importing" in m), None)
        state, sentence = State.BROKEN, _stopped_sentence(culprit, child)
    elif errors:
        name, error = next(iter(errors.items()))
        state, sentence = State.INCOMPLETE, f"cannot import the package {name} ({error})."
    elif wrong:
        state = State.WRONG_VERSIONS
        others = _names([f"{p.name} {p.found} instead of {p.expected[0]}" for p in wrong])
        sentence = f"has other versions than {what} was tested with: {others}."
    else:
        state = State.READY
        needed = "" if what == "the plugin" else f" that {what} needs"
        sentence = f"(Python {version}) has all {len(found)} packages{needed}."
    return state, sentence, version, packages


def _missing_sentence(missing: list[str], total: int, what: str) -> str:
    if len(missing) == total:
        return f"has none of the packages that {what} needs."
    return f"is half installed: {len(missing)} of {total} packages are missing ({_names(missing)})."


def _stopped_sentence(culprit: str | None, child: subprocess.CompletedProcess[str]) -> str:
    when = f"while it imported {culprit}" if culprit else "before it could answer"
    last = (child.stderr.strip().splitlines() or ["it printed nothing"])[-1]
    return f"stopped {when} (exit code {child.returncode}: {last})."


def _names(items: list[str], most: int = 5) -> str:
    rest = f" and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(items[:most]) + rest
