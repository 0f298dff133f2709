# SPDX-License-Identifier: GPL-2.0-or-later
"""Rasters on a server: few requests, limits of time, and a sentence for each failure."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from tests.toy_jobs import WatchingProgress, segment
from tests.toy_rasters import read_raster, texture, write_raster
from unet_segmenter.engine.errors import InputError
from unet_segmenter.engine.geometry import PixelWindow
from unet_segmenter.engine.rasters.gdal import gdal_settings
from unet_segmenter.engine.rasters.remote import is_remote, source_settings
from unet_segmenter.engine.rasters.source import RasterSource


class Server:
    """Serves the files of a folder by ranges, and fails as it is told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.status = 0  # of every answer; 0 serves the files
        self.stalls = False
        self.requests: list[tuple[str, str]] = []
        self.released = threading.Event()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def url(self, name: str) -> str:
        """Address of a file; GDAL remembers addresses, so each test has files of its own."""
        return f"http://127.0.0.1:{self._http.server_port}/{name}"

    def close(self) -> None:
        """Let go of stalled requests, and stop."""
        self.released.set()
        self._http.shutdown()
        self._http.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                """Say nothing."""

            def do_HEAD(self) -> None:
                self.answer(b"")

            def do_GET(self) -> None:
                self.answer(None)

            def answer(self, body: bytes | None) -> None:
                server.requests.append((self.command, self.path))
                if server.stalls:
                    server.released.wait(60)
                    self.close_connection = True
                    return
                path = server.folder / self.path.lstrip("/")
                status = server.status or (200 if path.is_file() else 404)
                data = path.read_bytes() if status == 200 else b""
                sent = data
                if status == 200 and (span := self.headers.get("Range")):
                    first, last = re.fullmatch(r"bytes=(\d+)-(\d+)", span).groups()  # type: ignore[union-attr]
                    status, sent = 206, data[int(first) : int(last) + 1]
                self.send_response(status)
                if status == 206:
                    stop = int(first) + len(sent) - 1
                    self.send_header("Content-Range", f"bytes {first}-{stop}/{len(data)}")
                self.send_header("Content-Length", str(len(sent)))
                self.send_header("Accept-Ranges", "bytes")
                self.end_headers()
                if body is None:
                    self.wfile.write(sent)

        return Handler


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    folder = tmp_path / "served"
    folder.mkdir()
    running = Server(folder)
    yield running
    running.close()


def test_a_map_of_a_remote_raster_is_that_of_the_file_and_asks_for_no_side_files(
    server: Server, bright: Path, tmp_path: Path
) -> None:
    source = write_raster(server.folder / "a.tif", texture(300, 260), tiled=True)
    segment(server.url("a.tif"), tmp_path / "m.tif", bright)
    segment(source, tmp_path / "n.tif", bright)
    assert np.array_equal(read_raster(tmp_path / "m.tif"), read_raster(tmp_path / "n.tif"))
    assert {path for _, path in server.requests} == {"/a.tif"}
    assert [kind for kind, _ in server.requests].count("HEAD") <= 1
    assert len(server.requests) < 10


def test_a_local_virtual_raster_of_remote_ones_asks_for_no_side_files(
    server: Server, tmp_path: Path
) -> None:
    image = texture(40, 50)
    write_raster(server.folder / "v.tif", image)
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{k}"><SimpleSource><SourceFilename>/vsicurl/'
        f"{server.url('v.tif')}</SourceFilename><SourceBand>{k}</SourceBand></SimpleSource>"
        "</VRTRasterBand>"
        for k in (1, 2, 3)
    )
    mosaic = tmp_path / "v.vrt"
    mosaic.write_text(f'<VRTDataset rasterXSize="50" rasterYSize="40">{bands}</VRTDataset>')
    with RasterSource(str(mosaic)) as raster:
        pixels, _ = raster.read(PixelWindow(0, 0, 40, 50), (1, 2, 3), (0, 255))
    assert np.array_equal(pixels, image)
    assert {path for _, path in server.requests} == {"/v.tif"}


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (500, r"cannot serve it at present \(HTTP 500\)\. Try again later"),
        (503, r"cannot serve it at present \(HTTP 503\)\. Try again later"),
        (404, r"There is no .* on its server \(HTTP 404\); check the address"),
        (403, r"does not let you read .* \(HTTP 403\)"),
    ],
)
def test_what_a_server_answers_is_told(server: Server, status: int, words: str) -> None:
    write_raster(server.folder / f"s{status}.tif", texture(40, 50))
    server.status = status
    with pytest.raises(InputError, match=words) as told:
        RasterSource(server.url(f"s{status}.tif"))
    assert "Copy it again" not in str(told.value)


@pytest.mark.parametrize("threads", [1, 4])
def test_a_server_that_fails_in_mid_run_gives_an_error_and_not_other_pixels(
    server: Server, threads: int
) -> None:
    """With several threads GDAL itself would give pixels of other places, and no error."""
    name = f"f{threads}.tif"
    write_raster(server.folder / name, texture(900, 900), tiled=True)
    with gdal_settings(threads), RasterSource(server.url(name)) as raster:
        raster.read(PixelWindow(0, 0, 9, 9), (1, 2, 3), (0, 255))
        server.status = 500
        with pytest.raises(InputError, match=r"rows 800-.*its server failed.*Try again later"):
            raster.read(PixelWindow(800, 800, 90, 90), (1, 2, 3), (0, 255))


def test_a_stalled_server_is_given_up(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GDAL_HTTP_LOW_SPEED_TIME", "1")
    monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "0")
    write_raster(server.folder / "stall.tif", texture(40, 50))
    server.stalls = True
    began = time.monotonic()
    with pytest.raises(InputError, match=r"cannot be reached \(.*Check the address and the net"):
        RasterSource(server.url("stall.tif"))
    assert time.monotonic() - began < 20


def test_the_limits_of_time_hold_for_remote_rasters_alone_and_the_environment_wins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert [is_remote(p) for p in ("/vsicurl/http://a/b.tif", "https://a/b.tif", "s3://a/b.tif")]
    assert not any(is_remote(p) for p in ("a.tif", "/data/https.tif", "C:/a.tif", "absent.vrt"))
    monkeypatch.setenv("GDAL_HTTP_LOW_SPEED_TIME", "99")
    settings = source_settings(True)
    assert "GDAL_HTTP_LOW_SPEED_TIME" not in settings
    assert int(settings["GDAL_HTTP_CONNECTTIMEOUT"]) <= 30
    assert source_settings(False) == {"GDAL_DISABLE_READDIR_ON_OPEN": "FALSE"}


def test_side_files_of_a_raster_on_the_disk_count_in_every_run(tmp_path: Path) -> None:
    """A world file places a picture, in a run as well as before it."""
    path = write_raster(tmp_path / "a.png", texture(40, 50), driver="PNG", crs=None, transform=None)
    for stray in tmp_path.glob("a.png.*"):
        stray.unlink()
    (tmp_path / "a.pgw").write_text("0.5\n0\n0\n-0.5\n500000.25\n5299999.75\n")
    with gdal_settings(1), RasterSource(str(path)) as raster:
        assert raster.grid.transform == (0.5, 0, 500_000, 0, -0.5, 5_300_000)


def test_a_run_over_a_stalled_server_ends_and_goes_on_later(
    server: Server, bright: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GDAL_HTTP_LOW_SPEED_TIME", "1")
    monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "0")
    # More than GDAL keeps of what it read.
    image = np.random.default_rng(1).integers(1, 255, (4096, 4096, 3), np.uint8)
    write_raster(server.folder / "long.tif", image, tiled=True)

    def stall(done: int) -> None:
        if done == 3:
            server.stalls = True

    with pytest.raises(InputError, match="Try again later: the same command goes on"):
        segment(
            server.url("long.tif"), tmp_path / "m.tif", bright, WatchingProgress(stall),
            block_size=512,
        )  # fmt: skip
    server.stalls = False
    result = segment(server.url("long.tif"), tmp_path / "m.tif", bright, block_size=512)
    assert result.resumed_blocks >= 3
