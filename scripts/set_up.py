# SPDX-License-Identifier: GPL-2.0-or-later
"""Make what lies under .build: the environments and the private QGIS profile with the plugin.

Run by the Makefile after system_packages.sh, with any Python 3.11 or newer and no package:

    python3 scripts/set_up.py engine plugin        what the plugin needs to map
    python3 scripts/set_up.py training             and to train: laid over the engine's packages
    python3 scripts/set_up.py dev qgis             what lint and tests need
    python3 scripts/set_up.py backends             what tests on JAX and PyTorch need
    python3 scripts/set_up.py reference            an optional package that some tests compare with
    python3 scripts/set_up.py env                  print `export` lines for a shell

Each step does nothing when its result is there and its lock is unchanged.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts import stage  # noqa: E402
from unet_segmenter.engine.errors import SegmenterError  # noqa: E402
from unet_segmenter.runners import environment  # noqa: E402
from unet_segmenter.runners.encoder_download import add_encoder  # noqa: E402
from unet_segmenter.runners.environment_check import is_complete  # noqa: E402
from unet_segmenter.runners.reference_solver import try_reference_solver  # noqa: E402
from unet_segmenter.runners.training_environment import add_training, has_training  # noqa: E402

BUILD = ROOT / ".build"
PLUGINS = BUILD / "plugins"
PROFILE = BUILD / "profile"
LOCKS = {
    "engine": environment.engine_lock(),
    "dev": ROOT / "requirements" / "dev.txt",
    "qgis": ROOT / "requirements" / "qgis.txt",
    "backends": ROOT / "requirements" / "backends.txt",
}
TORCH = ROOT / "requirements" / "torch.txt"


class SetupError(Exception):
    """A step that cannot work here; the message says what to do."""


class Console:
    """Progress of a set-up as lines on standard error."""

    def advance(self, done: int, total: int, message: str | None = None) -> None:
        """Show pip's packages, the only long steps."""
        if message:
            say(f"[{done}/{total}] {message}")

    def log(self, level: str, message: str) -> None:
        """Show what is neither in `advance` nor about single files."""
        if level != "info" or message.startswith(("Making", "Installing", "ERROR")):
            say(message)

    def cancelled(self) -> bool:
        """Ctrl-C ends the set-up."""
        return False


def say(message: str) -> None:
    """Print one line; standard output belongs to `env`."""
    print(f"setup: {message}", file=sys.stderr, flush=True)


def system() -> dict[str, str]:
    """What system_packages.sh found: QGIS_PROCESS, QGIS_PYTHON, BASE_PYTHON."""
    lines = (BUILD / "system.env").read_text(encoding="utf-8").splitlines()
    pairs = (shlex.split(line)[0].partition("=") for line in lines if not line.startswith("FINGER"))
    return {name: value for name, _, value in pairs}


def interpreter(name: str = "engine") -> Path:
    """Interpreter of one of our environments."""
    return environment.environment_python(BUILD / name)


def make_environment(name: str) -> None:
    """Make the environment `name` from its lock; the project is importable in it."""
    folder, lock = BUILD / name, LOCKS[name]
    if is_complete(folder, lock):
        return
    with_qgis = name == "qgis"
    base = system()["QGIS_PYTHON" if with_qgis else "BASE_PYTHON"]
    modules = {"pytest": "pytest", "PyQGIS": "qgis.core"} if with_qgis else None
    report = environment.create_environment(
        folder,
        Console(),
        lock=lock,
        base=Path(base),
        modules=modules or environment.ENGINE_MODULES,
        system_site_packages=with_qgis,
        before_stamp=None if with_qgis else make_importable,
    )
    say(report.message)


def make_training() -> None:
    """Let the engine's environment train, too."""
    if not has_training(BUILD / "engine"):
        say(add_training(BUILD / "engine", Console()).message)
    else:
        add_encoder(BUILD / "engine", Console())


def make_backends() -> None:
    """Make the environment for Keras on JAX, and add PyTorch where there is a build of it."""
    make_environment("backends")
    python = interpreter("backends")
    if any((BUILD / "backends").glob("lib/python3*/site-packages/torch")):
        return
    say("Installing PyTorch, as the index of pip's configuration has it.")
    command = [str(python), "-I", "-m", "pip", "install", "--no-input", "--quiet"]
    command += ["--only-binary", ":all:", "-r", str(TORCH)]
    scrubbed = environment.scrubbed_environment(os.environ, for_pip=True)
    if subprocess.run(command, env=scrubbed, stdin=subprocess.DEVNULL, check=False).returncode:
        say(f"PyTorch could not be installed; to try again: {shlex.join(command)}")


def make_reference() -> None:
    """Try to build the optional solver that tests compare ours with."""
    for name in ("engine", "dev"):
        told = try_reference_solver(BUILD / name, Console())
        if told:
            say(told)


def make_importable(folder: Path) -> None:
    """Let `python -m unet_segmenter` work from any directory with this environment."""
    (site_packages,) = folder.glob("lib/python3*/site-packages")
    (site_packages / "unet_segmenter.pth").write_text(f"{ROOT}\n", encoding="utf-8")


def make_plugin() -> None:
    """Link the plugin into the private plugin folder and enable it in the private profile."""
    stage.link(PLUGINS / stage.FOLDER)
    settings = PROFILE / "profiles" / "default" / "QGIS" / "QGIS3.ini"
    enabled = f"{stage.FOLDER}=true"
    if settings.is_file() and enabled in settings.read_text(encoding="utf-8"):
        return
    program = system()["QGIS_PROCESS"]
    done = subprocess.run(
        [program, "plugins", "enable", stage.FOLDER],
        env={**os.environ, **variables()},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if not settings.is_file() or enabled not in settings.read_text(encoding="utf-8"):
        raise SetupError(
            f"`{program} plugins enable {stage.FOLDER}` failed "
            f"(exit code {done.returncode}): {done.stdout.strip()} {done.stderr.strip()}"
        )


def variables() -> dict[str, str]:
    """What a shell needs to run the plugin headless, from any directory."""
    return {
        "QGIS_PROCESS": system()["QGIS_PROCESS"],
        "QGIS_PLUGINPATH": str(PLUGINS),
        "QGIS_CUSTOM_CONFIG_PATH": str(PROFILE),
        "QT_QPA_PLATFORM": "offscreen",
        environment.PYTHON_VARIABLE: str(interpreter()),
    }


def print_exports() -> None:
    """Print `variables` as lines for `eval`."""
    for name, value in variables().items():
        print(f"export {name}={shlex.quote(value)}")


STEPS = {
    "engine": lambda: make_environment("engine"),
    "training": make_training,
    "dev": lambda: make_environment("dev"),
    "qgis": lambda: make_environment("qgis"),
    "backends": make_backends,
    "reference": make_reference,
    "plugin": make_plugin,
    "env": print_exports,
}


def main(steps: list[str]) -> int:
    """Run the named steps in their order."""
    try:
        for step in steps:
            STEPS[step]()
    except (SegmenterError, SetupError) as error:
        say(f"error: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
