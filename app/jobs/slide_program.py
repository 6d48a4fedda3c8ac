"""The program of the process that works on one slide; `slide_process` starts it.

It imports little before it has lowered its priority and limited its memory.
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import resource
import signal
import sys
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from app.jobs.full_disk import is_full_disk

if TYPE_CHECKING:
    from app.jobs.slide_messages import Ended, SlideOrder

_LOWEST_PRIORITY: Final = 19
_PR_SET_PDEATHSIG: Final = 1
_OOM_SCORE: Final = "800"
"""Out of 1000: if memory runs out, the kernel ends this process rather than the service."""
_LOCK_WITHIN_S: Final = 60.0
_PROGRESS_PERIOD_S: Final = 0.1


def main() -> None:
    """Read an order from standard input, work, and write messages to standard output."""
    os.umask(0o077)  # results are for the user of the service only
    _yield_to_others()
    output = _Output()
    _end_with_worker()
    is_stopped = threading.Event()
    # A supervisor may send SIGTERM to all processes of a service.
    signal.signal(signal.SIGTERM, lambda *_: is_stopped.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the worker
    max_bytes = int(sys.argv[1])
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_DATA, (max_bytes, max_bytes))
    line = sys.stdin.buffer.readline()
    if not line:  # the worker has died
        return
    threading.Thread(target=_exit_at_end_of_input, daemon=True).start()
    output.end(_work(line, output, is_stopped, max_bytes))
    os._exit(0)  # native threads need not be waited for


def _work(line: bytes, output: _Output, is_stopped: threading.Event, max_bytes: int) -> Ended:
    """Do what is ordered, and tell how it ended."""
    from app.jobs.slide_messages import Ended, SlideOrder

    order = SlideOrder.model_validate_json(line)
    try:
        _classify(order, output, is_stopped)
    except InterruptedError as error:
        return Ended(is_stopped=True) if is_stopped.is_set() else _failed_by(error, order)
    except MemoryError:
        detail = f"The slide takes more than {max_bytes:,} bytes of memory (see "
        detail += "OSTEO_SLIDE_MEMORY_BYTES)."
        return _failed("slide-memory", detail, may_retry=True)
    except Exception as error:  # noqa: BLE001 - the worker logs it, and tries again
        return _failed_by(error, order)
    return Ended()


def _classify(order: SlideOrder, output: _Output, is_stopped: threading.Event) -> None:
    """Classify the slide with the model of the job."""
    from app.core.errors import ModelNotFoundError
    from app.inference.classifier import Classifier
    from app.runtime.cores import usable_cores
    from app.serving.loading import open_classifier
    from app.slides.run import SlideRun, run_slide
    from app.telemetry.metrics import Metrics

    settings = order.read_settings()

    def open_model() -> Classifier:
        workers = settings.slide_threads or usable_cores()
        one_each = settings.model_copy(update={"workers": workers})
        classifier = open_classifier(one_each, Metrics())
        identity = classifier.identity
        if identity.bundle_sha256 != order.bundle_sha256:
            classifier.close()
            raise ModelNotFoundError(
                identity.name,
                message=f"Version {identity.version} of the model {identity.name} is another "
                f"bundle here ({identity.bundle_sha256[:12]}) than the one that the job asks for "
                f"({order.bundle_sha256[:12]}).",
            )
        return classifier

    run = SlideRun(
        path=order.path,
        out_dir=order.out_dir,
        sha256=order.sha256,
        mpp=order.mpp,
        min_tissue_share=order.min_tissue_share,
        min_tumor_mm2=settings.slide_min_tumor_mm2,
        n_threads=settings.slide_threads,
        limits=settings.slide_limits,
        allow_companions=order.allow_companions,
        lock_within_s=_LOCK_WITHIN_S,
    )
    run_slide(run, open_model, output.progress, is_stopped.is_set)


class _Output:
    """Standard output, kept from libraries that write to it. Messages are shorter than PIPE_BUF.

    The worker may be stopped and not read: progress that finds no room is dropped.
    """

    def __init__(self) -> None:
        self._descriptor = os.dup(1)
        sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
        faulthandler.enable(sys.stderr)  # writes a traceback if a reader crashes
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
        self._lock = threading.Lock()
        self._told: tuple[str, float] = ("", 0.0)

    def progress(self, stage: Any, n_done: int, n_tiles: int | None) -> None:
        """Tell the worker, but not about each of many commits in a row."""
        from app.jobs.slide_messages import Progressed

        with self._lock:
            told_stage, told_at = self._told
            now = time.monotonic()
            if stage == told_stage and n_done != n_tiles and now - told_at < _PROGRESS_PERIOD_S:
                return
            self._told = (stage, now)
            message = Progressed(stage=stage, n_done=n_done, n_tiles=n_tiles)
            os.set_blocking(self._descriptor, False)
            with suppress(BlockingIOError):
                os.write(self._descriptor, f"{message.model_dump_json()}\n".encode())

    def end(self, message: Ended) -> None:
        """Tell the worker how the work ended."""
        with self._lock:
            os.set_blocking(self._descriptor, True)
            content = f"{message.model_dump_json()}\n".encode()
            while content:
                content = content[os.write(self._descriptor, content) :]


def _yield_to_others() -> None:
    """Leave processor and memory to others, so that single tiles keep their latency.

    `SCHED_IDLE` would do more, but a slide would never end on a machine that is always busy.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump holds the slide
    with suppress(OSError):  # a sandbox may forbid it
        os.setpriority(os.PRIO_PROCESS, 0, _LOWEST_PRIORITY)
    if sys.platform == "linux":
        with suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)


def _end_with_worker() -> None:
    """Let the kernel kill this process when the worker's thread dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _exit_at_end_of_input() -> None:
    """The worker writes nothing more; its end closes the pipe, also where prctl does not exist."""
    sys.stdin.buffer.read()
    os._exit(1)


def _failed_by(error: Exception, order: SlideOrder) -> Ended:
    """What an error means for the job."""
    from app.core.errors import OsteoError
    from app.core.slide_errors import SlideError

    if isinstance(error, SlideError):
        return _failed(error.code, str(error))
    if isinstance(error, OsteoError):  # such as a bundle that this machine does not have
        is_known = error.code != OsteoError.code
        code = error.code if is_known else "model-unavailable"
        return _failed(code, str(error), may_retry=True)
    if is_full_disk(error):
        return _failed("disk-full", "The disk for the results is full.")
    return _failed(
        "slide-process-failed",
        "The program failed. The log of the worker says why.",
        may_retry=True,
        log=_traceback_without_names(error, order),
    )


def _failed(code: str, detail: str, *, may_retry: bool = False, log: str | None = None) -> Ended:
    from app.jobs.records import JobFailure
    from app.jobs.slide_messages import Ended

    return Ended(failure=JobFailure(code=code, detail=detail), may_retry=may_retry, log=log)


def _traceback_without_names(error: Exception, order: SlideOrder) -> str:
    """A traceback without the name of the slide's file, which may be that of a patient."""
    text = "".join(traceback.format_exception(error)).replace(str(order.path), "SLIDE")
    if order.allow_companions:  # it lies in a mount, where others chose its name
        for name in (order.path.name, order.path.stem):
            text = text.replace(name, "SLIDE")
    return text
