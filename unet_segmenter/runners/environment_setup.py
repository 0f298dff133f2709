# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes the engine's Python environment: `python -m venv`, then pip from the hashed lock.

Virtual environments cannot be moved, so one is made in its final place and counts only when
`complete.json` lies in it, which is written last. An interrupted set-up is made anew by the
next call; packages that were already downloaded come from pip's cache.
"""

from __future__ import annotations

import contextlib
import os
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from ..engine.errors import Cancelled, OutputError, RuntimeMissingError
from ..engine.progress import Progress, SilentProgress
from .base_interpreter import find_base_interpreter
from .child_environment import scrubbed_environment
from .environment_check import (
    ENGINE_MODULES,
    STAMP_NAME,
    EnvironmentReport,
    environment_python,
    is_complete,
    read_lock,
    verify_environment,
    write_stamp,
)

_POLL_SECONDS = 0.2
_NO_WINDOW = 0x08000000 if sys.platform == "win32" else 0

# What pip prints -> what happened and what to do. The first that matches is told.
_PIP_FAILURES: tuple[tuple[str, str], ...] = (
    (r"No space left on device|not enough space", "The disk is full; free 2 GB and try again."),
    (
        r"DO NOT MATCH THE HASHES",
        "A downloaded package differs from the one that the plugin was tested with; clear pip's "
        "cache (`pip cache purge`) and look at your package index or proxy.",
    ),
    (
        r"certificate verify failed|CERTIFICATE_VERIFY_FAILED",
        "The package index's certificate is not trusted; name your site's certificates in "
        "PIP_CERT or in pip's configuration file.",
    ),
    (
        r"Temporary failure in name resolution|NewConnectionError|Name or service not known|"
        r"getaddrinfo failed|Connection (refused|reset)|timed out|ProxyError|"
        r"Network is unreachable",
        "The package index cannot be reached; connect to the internet, or set HTTPS_PROXY or "
        "PIP_INDEX_URL.",
    ),
    (r"Permission denied|Read-only file system", "The folder is read-only."),
    (
        r"No matching distribution found|\(from versions: none\)",
        "There is no build of a package for this Python and this system, or the package index "
        "cannot be reached.",
    ),
)


def create_environment(
    target: Path,
    progress: Progress | None = None,
    *,
    lock: Path,
    base: Path | None = None,
    modules: Mapping[str, str] = ENGINE_MODULES,
    system_site_packages: bool = False,
    before_stamp: Callable[[Path], None] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> EnvironmentReport:
    """Make the environment in `target` from `lock`, or find it complete.

    Downloads about 250 MB for the engine. Called only when the user asks for it.

    Parameters
    ----------
    target : Path
        Folder of the environment. If there is one from another lock or an interrupted set-up,
        it is made anew.
    progress : Progress, optional
        Gets pip's lines, one step a package, and may cancel.
    lock : Path
        Requirements with hashes.
    base : Path, optional
        Interpreter to make it from; None finds one.
    modules : mapping
        Package to module, for those that must be importable at the end.
    system_site_packages : bool
        Whether the environment sees the packages of `base` (PyQGIS, for tests).
    before_stamp : callable, optional
        Gets `target` as the last step before the environment counts as complete.

    Returns
    -------
    EnvironmentReport
        Always of a ready environment.

    Raises
    ------
    RuntimeMissingError
        If there is no suitable Python, or the packages cannot be fetched.
    OutputError
        If the folder cannot be written, or holds something else.
    Cancelled
        If the user stopped it; the next call starts over with what was downloaded.
    """
    progress = progress or SilentProgress()
    python = environment_python(target)
    with exclusive(target):
        if is_complete(target, lock):
            progress.log("info", f"The environment in {target} is there; checking it.")
            report = verify_environment(python, lock=lock, modules=modules, environ=environ)
            if report.ready:
                return report
            progress.log("warning", f"{report.message} It is made anew.")
        _refuse_foreign_folder(target)
        base = base or find_base_interpreter(environ)
        (target / STAMP_NAME).unlink(missing_ok=True)
        _make_venv(base, target, system_site_packages, environ, progress)
        install(python, lock, environ, progress)
        report = verify_environment(python, lock=lock, modules=modules, environ=environ)
        report.require()
        if before_stamp:
            before_stamp(target)
        write_stamp(target, lock, report)
    progress.log("info", report.message)
    return report


def _refuse_foreign_folder(target: Path) -> None:
    """Never empty a folder that is not a virtual environment."""
    if target.is_dir() and any(target.iterdir()) and not (target / "pyvenv.cfg").is_file():
        raise OutputError(
            f"{target} is not empty and is no virtual environment; name another folder, or empty "
            "this one."
        )


@contextlib.contextmanager
def exclusive(target: Path) -> Iterator[None]:
    """Let one set-up of `target` run at a time; the system frees the lock of a dead process."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle = target.with_name(target.name + ".lock").open("w")
    except OSError as error:
        raise OutputError(
            f"The environment's folder {target} cannot be made ({error.strerror}). "
            "Make its parent folder writable, or name another."
        ) from error
    with handle:
        try:
            _lock(handle)
        except OSError as error:
            raise RuntimeMissingError(
                f"Another set-up of {target} is running; wait for it to end."
            ) from error
        yield


def _lock(handle: IO[str]) -> None:
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _make_venv(
    base: Path,
    target: Path,
    system_site_packages: bool,
    environ: Mapping[str, str],
    progress: Progress,
) -> None:
    progress.log("info", f"Making the environment in {target} with {base}.")
    command = [str(base), "-I", "-m", "venv", "--clear", str(target)]
    if system_site_packages:
        command.insert(-1, "--system-site-packages")
    code, lines = _run(command, environ, progress)
    if code:
        said = " ".join(lines[-3:])
        hint = "Install python3-venv (Debian: `sudo apt-get install python3-venv`)."
        if "ensurepip" not in " ".join(lines):
            hint = "See whether the folder is writable and the disk has room."
        raise RuntimeMissingError(f"{base} could not make {target} ({said}). {hint}")


def install(
    python: Path,
    lock: Path,
    environ: Mapping[str, str],
    progress: Progress,
    *,
    from_source: bool = False,
) -> None:
    """Install the lock's packages and no others, each against its hash.

    Wheels only, unless `from_source` lets them be built, with what the environment has to build
    with: that runs code of theirs.
    """
    command = [str(python), "-I", "-m", "pip", "install", "--no-input", "--progress-bar=off"]
    command += ["--disable-pip-version-check", "--require-hashes"]
    command += ["--no-build-isolation"] if from_source else ["--only-binary", ":all:"]
    command += ["--no-deps"]  # the lock is whole, and leaves out what reports to its maker
    code, lines = _run(
        [*command, "-r", str(lock)], environ, progress, steps=len(read_lock(lock)) + 1
    )
    if code:
        raise RuntimeMissingError(_pip_failure(lines))


def download(
    python: Path, lock: Path, folder: Path, environ: Mapping[str, str], progress: Progress
) -> None:
    """Download the lock's wheels into `folder`, each against its hash; install nothing.

    Raises
    ------
    RuntimeMissingError
        If a wheel cannot be fetched.
    OutputError
        If the folder cannot be written.
    Cancelled
        If the user stopped it; nothing half-written is left under a wheel's name.
    """
    command = [str(python), "-I", "-m", "pip", "download", "--no-input", "--progress-bar=off"]
    command += ["--disable-pip-version-check", "--require-hashes", "--no-deps"]
    command += ["--only-binary", ":all:", "-r", str(lock), "--dest"]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            code, lines = _run([*command, temporary], environ, progress)
            if code:
                raise RuntimeMissingError(_pip_failure(lines))
            for wheel in Path(temporary).iterdir():
                wheel.replace(folder / wheel.name)
    except OSError as error:
        raise OutputError(f"{folder} cannot be written ({error.strerror}).") from error


def _pip_failure(lines: Sequence[str]) -> str:
    """One sentence for what pip printed, and its own last error."""
    text = "\n".join(lines)
    errors = [line for line in lines if line.startswith("ERROR:")]
    said = errors[-1][6:].strip() if errors else (lines[-1] if lines else "pip said nothing")
    for pattern, sentence in _PIP_FAILURES:
        if re.search(pattern, text):
            return f"The packages could not be installed: {sentence} (pip: {said})"
    return f"The packages could not be installed (pip: {said})."


def _run(
    command: Sequence[str],
    environ: Mapping[str, str],
    progress: Progress,
    *,
    steps: int = 0,
) -> tuple[int, list[str]]:
    """Run `command`, hand its lines to `progress`, and end it with its children on cancel.

    Returns
    -------
    tuple
        The exit code, and all lines of output.
    """
    child = subprocess.Popen(
        list(command),
        env=scrubbed_environment(environ, for_pip=True),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        creationflags=_NO_WINDOW,
        start_new_session=True,  # Windows does not know it and ignores it
    )
    arriving: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=_read_lines, args=(child.stdout, arriving), daemon=True).start()
    lines: list[str] = []
    try:
        done = 0
        while (line := _next(arriving, progress)) is not None:
            lines.append(line)
            progress.log("info", line)
            if steps and line.startswith(("Collecting ", "Processing ")):
                done += 1
                progress.advance(min(done, steps - 1), steps, line)
        code = child.wait()
    except BaseException:
        _end(child)
        raise
    if steps and code == 0:
        progress.advance(steps, steps)
    return code, lines


def _next(arriving: queue.Queue[str | None], progress: Progress) -> str | None:
    """The next line, or None at the end; asks meanwhile whether the user wants to stop."""
    while True:
        if progress.cancelled():
            raise Cancelled("The set-up was stopped; the next one starts with what was downloaded.")
        with contextlib.suppress(queue.Empty):
            return arriving.get(timeout=_POLL_SECONDS)


def _read_lines(stream: IO[str], arriving: queue.Queue[str | None]) -> None:
    with stream:
        for line in stream:
            arriving.put(line.rstrip())
    arriving.put(None)


def _end(child: subprocess.Popen[str]) -> None:
    """End the child and what it started."""
    if sys.platform == "win32":
        subprocess.run(
            ["taskkill", "/F", "/T", "/PID", str(child.pid)],
            capture_output=True,
            check=False,
        )
    else:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    child.wait()
