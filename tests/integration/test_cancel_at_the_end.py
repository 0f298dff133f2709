# SPDX-License-Identifier: GPL-2.0-or-later
"""A cancel in bad moments: while the last file is written, and while a server does not answer."""

from __future__ import annotations

import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from tests.toy_cli import start
from tests.toy_jobs import WatchingProgress
from tests.toy_rasters import texture, write_raster
from unet_segmenter.engine.errors import Cancelled
from unet_segmenter.runners.in_process import run_values


class CancelledAtTheEnd(WatchingProgress):
    """Cancels as soon as the last file is begun: the file is written, and nothing asked before."""

    writing = 0

    def advance(self, done: int, total: int, message: str | None = None) -> None:
        self.writing += bool(message and message.startswith("Writing"))
        super().advance(done, total, message)

    def cancelled(self) -> bool:
        return self.writing > 0


@pytest.fixture
def image(tmp_path: Path) -> str:
    return str(write_raster(tmp_path / "in.tif", texture(64, 64)))


@pytest.mark.parametrize("kind", ["segment", "landcover", "majorityfilter", "fuse", "refine"])
def test_no_kind_of_run_publishes_after_a_cancel(
    kind: str, image: str, toy_unet: Path, tmp_path: Path
) -> None:
    mask, shares = str(tmp_path / "mask.tif"), str(tmp_path / "shares.tif")
    values = {"input": image, "output": mask, "model": str(toy_unet), "probability": shares}
    run_values("segment", values, WatchingProgress())
    output = tmp_path / "out.tif"
    jobs: dict[str, dict[str, Any]] = {
        "segment": {**values, "probability": None},
        "landcover": {"input": image, "models": [str(toy_unet)]},
        "majorityfilter": {"input": mask},
        "fuse": {"inputs": [shares]},
        "refine": {"input": image, "labels": mask, "iterations": 1},
    }
    progress = CancelledAtTheEnd()
    with pytest.raises(Cancelled):
        run_values(kind, {**jobs[kind], "output": str(output)}, progress)
    assert progress.writing == 1
    assert not output.exists()


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_server_that_does_not_answer_delays_no_cancel(
    sent: signal.Signals, bright: Path, tmp_path: Path
) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.settimeout(120)
        source = f"/vsicurl/http://127.0.0.1:{server.getsockname()[1]}/in.tif"
        run = start("segment", source, tmp_path / "m.tif", "--model", bright, "--quiet")
        connection, _ = server.accept()
        with connection:
            time.sleep(0.5)  # the request is sent, and waits for its answer
            began = time.monotonic()
            run.send_signal(sent)
            run.communicate(timeout=60)
            assert time.monotonic() - began < 2
    assert run.returncode == Cancelled.exit_code
