"""A load that changes: quiet, busy, more than the service takes, and tiles of other colours."""

from __future__ import annotations

import http.client
import io
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final

from PIL import Image

_CUT_TILE: Final = b"\xff\xd8\xff\xe0 this JPEG ends here"
_BOUNDARY: Final = "osteo-dashboard-boundary"
_BATCH_TILES: Final = 48


def send_changing_load(port: int, key: str, tiles: Sequence[bytes], phase_s: float) -> None:
    """Send tiles to a local service in four phases, and wait until the last is answered.

    Args:
        port: where the service listens.
        key: an API key.
        tiles: encoded tiles; a part of them is sent again with other colours.
        phase_s: seconds of each phase.
    """

    def send(body: bytes, route: str = "", content_type: str = "image/jpeg") -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        headers = {"Authorization": f"Bearer {key}", "Content-Type": content_type}
        # The service closes the connection of a body that it refuses.
        with suppress(OSError, http.client.HTTPException):
            connection.request("POST", f"/v1/classify{route}", body, headers)
            connection.getresponse().read()
        connection.close()

    def send_batch(body: bytes) -> None:
        send(body, "/batch", f"multipart/form-data; boundary={_BOUNDARY}")

    _open_the_queue_of_slides(port, key)
    some_are_cut = [*tiles, _CUT_TILE]
    others = [_with_swapped_colours(tile) for tile in tiles]
    _repeat(send, some_are_cut, phase_s, n_clients=1, pause_s=0.15)
    _repeat(send, some_are_cut, phase_s, n_clients=8, pause_s=0)
    _repeat(send_batch, [_form(tiles)], phase_s / 2, n_clients=12, pause_s=0.2)
    _repeat(send, others, phase_s * 1.5, n_clients=2, pause_s=0.15)


def _open_the_queue_of_slides(port: int, key: str) -> None:
    """The first request for jobs begins to count them."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("GET", "/v1/jobs", headers={"Authorization": f"Bearer {key}"})
    connection.getresponse().read()
    connection.close()


def _repeat(
    send: Callable[[bytes], None],
    bodies: Sequence[bytes],
    seconds: float,
    *,
    n_clients: int,
    pause_s: float,
) -> None:
    end_s = time.monotonic() + seconds

    def run(first: int) -> None:
        for body in _from(bodies, first):
            if time.monotonic() > end_s:
                return
            send(body)
            time.sleep(pause_s)

    with ThreadPoolExecutor(n_clients) as pool:
        list(pool.map(run, range(n_clients)))


def _from(bodies: Sequence[bytes], first: int) -> Iterator[bytes]:
    return itertools.islice(itertools.cycle(bodies), first * 5, None)


def _form(tiles: Sequence[bytes]) -> bytes:
    head = 'Content-Disposition: form-data; name="files"; filename="tile.jpg"\r\n\r\n'
    parts = [
        f"--{_BOUNDARY}\r\n{head}".encode() + tile + b"\r\n"
        for tile in itertools.islice(itertools.cycle(tiles), _BATCH_TILES)
    ]
    return b"".join(parts) + f"--{_BOUNDARY}--\r\n".encode()


def _with_swapped_colours(tile: bytes) -> bytes:
    """The tile with green for red, which no scanner sends."""
    with Image.open(io.BytesIO(tile)) as image:
        red, green, blue = image.convert("RGB").split()
    changed = io.BytesIO()
    Image.merge("RGB", (green, red, blue)).save(changed, "JPEG", quality=90)
    return changed.getvalue()
