"""A server that has imported what programs need, and forks one for each request.

It never starts a thread, a native runtime or a device: those do not survive a fork. A forked
program runs as the main module of a process of its own, with its own streams, environment and
working directory. It ends as any Python program does: with its exit code or by a signal, after
its threads, with what is registered at exit, and its output flushed. Only Python itself is not
torn down object by object, which would copy all the memory that is shared with this server.

`tests/forking.py` starts it and talks to it.
"""

from __future__ import annotations

import array
import atexit
import ctypes
import gc
import importlib
import json
import os
import resource
import select
import signal
import socket
import struct
import sys
import threading
import traceback
from typing import Any, NoReturn

_MAX_REQUEST_BYTES = 2**20
_N_STREAMS = 3
_CAPABILITY_VERSION = 0x20080522
_DAC_OVERRIDE, _DAC_READ_SEARCH = 1, 2


def receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """A request, which ends with a newline, and its three streams."""
    fds = array.array("i")
    content, ancillary, _, _ = connection.recvmsg(
        _MAX_REQUEST_BYTES, socket.CMSG_LEN(_N_STREAMS * fds.itemsize)
    )
    for _, _, data in ancillary:
        fds.frombytes(data)
    while not content.endswith(b"\n"):
        content += connection.recv(_MAX_REQUEST_BYTES)
    return json.loads(content), list(fds)


def drop_reading_everything() -> None:
    """Give up root's right to read and write what modes forbid."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = struct.pack("Ii", _CAPABILITY_VERSION, 0)
    sets = ctypes.create_string_buffer(24)
    if libc.capget(header, sets) != 0:
        raise OSError(ctypes.get_errno(), "capget")
    effective, permitted, *rest = struct.unpack("6I", sets.raw)
    kept = ~(1 << _DAC_OVERRIDE | 1 << _DAC_READ_SEARCH)
    changed = struct.pack("6I", effective & kept & 0xFFFFFFFF, permitted & kept & 0xFFFFFFFF, *rest)
    if libc.capset(header, changed) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def become(request: dict[str, Any], fds: list[int]) -> None:
    """Give this process the streams and surroundings of a new one."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # A background shell and `nohup` ignore SIGINT, and their children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for stream, fd in enumerate(fds):
        os.dup2(fd, stream)
        os.close(fd)
    # As Python opens them: a terminal by lines, anything else in blocks.
    encoding = request["environ"].get("PYTHONIOENCODING")
    sys.stdin = os.fdopen(0, encoding=encoding, closefd=False)
    sys.stdout = os.fdopen(1, "w", encoding=encoding, closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, encoding, "backslashreplace", closefd=False)
    os.environ.clear()
    os.environ.update(request["environ"])
    os.chdir(request["cwd"])
    sys.argv = request["argv"]
    if request["max_file_bytes"] is not None:
        limit = request["max_file_bytes"]
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    if request["is_ordinary_user"]:
        drop_reading_everything()


def next_program(listener: socket.socket) -> str:
    """Serve until the other end of standard input closes; returns the program in each fork."""
    while True:
        readable, _, _ = select.select([listener.fileno(), 0], [], [])
        if 0 in readable:
            sys.exit(0)
        connection, _ = listener.accept()
        if os.fork() == 0:  # waits for the program, so that the server need not
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            listener.close()
            request, fds = receive(connection)
            pid = os.fork()
            if pid == 0:
                connection.close()
                become(request, fds)
                return str(request["code"])
            for fd in (0, 1, 2, *fds):
                os.close(fd)
            connection.sendall(b"%d\n" % pid)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            _, status = os.waitpid(pid, 0)
            connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
            os._exit(0)
        connection.close()


def main(path: str, modules: list[str]) -> str:
    """Import modules, listen at a path, and return the program that a fork runs."""
    for module in modules:
        importlib.import_module(module)
    gc.freeze()  # so that no fork touches, and copies, what all of them share
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel removes ended children
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{path}.new")
    listener.listen(64)
    os.rename(f"{path}.new", path)  # noqa: PTH104 - the path appears when the server listens
    return next_program(listener)


def end(code: int) -> NoReturn:
    """End this process as Python does, but leave its memory to the system."""
    try:
        threading._shutdown()  # type: ignore[attr-defined] # waits for threads; not public
    except KeyboardInterrupt:
        traceback.print_exc()  # and waits no longer
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        sys.exit(code)  # Python itself says what it could not write
    os._exit(code)


if __name__ == "__main__":
    _code = main(sys.argv[1], sys.argv[2:])
    try:
        exec(compile(_code, "<program>", "exec"), {"__name__": "__main__"})  # noqa: S102 - a test's own
    except SystemExit as _error:
        if not isinstance(_error.code, int | None):
            raise
        _exit_code = _error.code or 0
    else:
        _exit_code = 0
    end(_exit_code)
