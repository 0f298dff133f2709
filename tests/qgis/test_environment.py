# SPDX-License-Identifier: GPL-2.0-or-later
"""`checkenvironment`, `setupenvironment` and the options page."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import pytest

from unet_segmenter.engine.errors import Cancelled, OutputError
from unet_segmenter.processing import alg_setupenvironment, settings
from unet_segmenter.runners.environment import EnvironmentReport, State, environment_python


@pytest.fixture
def no_environment(monkeypatch, tmp_path):
    """Nothing is named, and the user's data folder is empty."""
    monkeypatch.delenv("UNET_SEGMENTER_PYTHON", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def test_an_absent_environment_is_a_report_with_the_remedy_not_a_failure(
    run, no_environment, feedback, tmp_path
):
    page = tmp_path / "report.html"
    results = run("checkenvironment", OUTPUT=str(page))
    assert results["READY"] is False
    assert results["STATE"] == "absent"
    assert "Set up the environment" in results["MESSAGE"]
    assert results["MESSAGE"].split(".")[0] in page.read_text(encoding="utf-8")
    assert [level for level, _ in feedback.told][-1] == "warning"


def test_a_python_without_the_packages_is_told_by_package(run, monkeypatch, tmp_path):
    monkeypatch.setenv("UNET_SEGMENTER_PYTHON", "/usr/bin/python3")
    page = tmp_path / "report.html"
    results = run("checkenvironment", OUTPUT=str(page))
    assert results["READY"] is False
    assert results["PYTHON"] == "/usr/bin/python3"
    assert results["PYTHON_VERSION"].startswith("3.")
    text = page.read_text(encoding="utf-8")
    assert "openvino" in text
    assert "not installed" in text


def test_the_engine_s_environment_is_ready(run, tmp_path):
    python = os.environ.get("UNET_SEGMENTER_PYTHON")
    if not python:
        pytest.skip("UNET_SEGMENTER_PYTHON names no engine")
    results = run("checkenvironment", OUTPUT=str(tmp_path / "report.html"))
    assert results["MESSAGE"].startswith(python)
    assert results["READY"] is True
    assert results["TRAINING"] is True, results["TRAINING_MESSAGE"]
    assert "has all" in results["TRAINING_MESSAGE"]
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "tensorflow" in text
    assert 'class="good"' in text
    assert 'class="bad"' not in text


def test_an_environment_without_the_packages_for_training_says_how_to_add_them(
    run, monkeypatch, tmp_path
):
    monkeypatch.setenv("UNET_SEGMENTER_PYTHON", "/usr/bin/python3")
    results = run("checkenvironment", OUTPUT=str(tmp_path / "report.html"))
    assert results["TRAINING"] is False
    assert "WITH_TRAINING" in results["TRAINING_MESSAGE"]


@pytest.fixture
def creation(monkeypatch):
    """Replaces the download: records the calls and does as told."""
    calls = []

    def create(target, progress, *, lock, base=None):
        calls.append((target, base))
        assert lock.is_file()
        progress.advance(1, 4, "Collecting numpy")
        while calls[0] == "wait" and not progress.cancelled():
            time.sleep(0.02)
        if progress.cancelled():
            raise Cancelled("The set-up was stopped.")
        if target.name == "forbidden":
            raise OutputError("The folder is read-only.")
        python = environment_python(target)
        python.parent.mkdir(parents=True)
        python.symlink_to(sys.executable)
        return EnvironmentReport(python, State.READY, f"{python} is ready.", "3.11.2")

    def add(target, progress):
        calls.append("training")
        return EnvironmentReport(environment_python(target), State.READY, "It can train.", "3.11")

    monkeypatch.setattr(alg_setupenvironment, "create_environment", create)
    monkeypatch.setattr(alg_setupenvironment, "add_training", add)
    return calls


def test_the_environment_is_made_in_the_user_s_data_folder(
    run, no_environment, creation, feedback, tmp_path
):
    results = run("setupenvironment")
    ((target, base),) = creation
    assert target.parent == tmp_path / "data" / "unet_segmenter"
    assert base is None
    assert results["PYTHON"] == str(environment_python(target))
    assert results["PYTHON_VERSION"] == "3.11.2"
    assert feedback.stages == ["Collecting numpy"]
    assert settings.engine_python() == ""


def test_packages_for_training_are_added_when_asked_for(run, no_environment, creation, tmp_path):
    results = run("setupenvironment", WITH_TRAINING=True)
    assert creation[1:] == ["training"]
    assert results["MESSAGE"].endswith("is ready. It can train.")


def test_another_folder_is_remembered_in_the_options(run, no_environment, creation, tmp_path):
    folder = tmp_path / "elsewhere"
    run("setupenvironment", FOLDER=str(folder), BASE_PYTHON="/usr/bin/python3")
    assert creation == [(folder, Path("/usr/bin/python3"))]
    assert settings.engine_python() == str(environment_python(folder))
    assert settings.environment().python == environment_python(folder)


def test_it_warns_where_another_python_is_still_named(
    run, no_environment, creation, feedback, monkeypatch
):
    monkeypatch.setenv("UNET_SEGMENTER_PYTHON", sys.executable)
    run("setupenvironment")
    (warning,) = [text for level, text in feedback.told if level == "warning"]
    assert f"UNET_SEGMENTER_PYTHON still names {sys.executable}" in warning


def test_a_failure_of_the_set_up_is_a_failure_of_the_algorithm(
    run, no_environment, creation, feedback, tmp_path
):
    assert run("setupenvironment", FOLDER=str(tmp_path / "forbidden")) is None
    assert any("read-only" in text for level, text in feedback.told if level == "error")
    assert settings.engine_python() == ""


def test_a_cancel_reaches_the_set_up(run, no_environment, creation, feedback):
    creation.append("wait")
    threading.Timer(0.3, feedback.cancel).start()
    started = time.monotonic()
    assert run("setupenvironment") is None
    assert time.monotonic() - started < 2


def test_nothing_but_the_set_up_makes_an_environment(run, no_environment, creation):
    run("checkenvironment")
    run("modelinfo", MODEL="toy")
    assert creation == []


def test_the_options_page_shows_and_keeps_both_paths(provider, tmp_path, model_folder):
    from unet_segmenter.gui.options import OptionsFactory

    settings.set_models_folder("")
    provider.refreshAlgorithms()
    factory = OptionsFactory()
    page = factory.createWidget(None)
    assert page.python.filePath() == ""
    page.python.setFilePath(str(tmp_path / "no python"))
    assert "There is no Python at" in page.state.text()
    page.python.setFilePath(sys.executable)
    page.models.setFilePath(str(model_folder))
    assert sys.executable in page.state.text()
    page.apply()
    assert settings.engine_python() == sys.executable
    assert settings.models_folder() == str(model_folder)
    assert "toy" in provider.algorithm("segment").parameterDefinition("MODEL").options()
    page.python.setFilePath("")
    page.apply()
    assert settings.engine_python() == ""


def test_the_plugin_registers_its_options_page_and_takes_it_away(qgis_app):
    from unet_segmenter.plugin import UnetSegmenterPlugin

    class Iface:
        def __init__(self):
            self.registered = []

        def registerOptionsWidgetFactory(self, factory):
            self.registered.append(factory)

        def unregisterOptionsWidgetFactory(self, factory):
            self.registered.remove(factory)

    iface = Iface()
    plugin = UnetSegmenterPlugin(iface)
    plugin.initGui()
    assert [factory.title() for factory in iface.registered] == ["U-Net Segmenter"]
    plugin.unload()
    assert iface.registered == []
