"""A real PostgreSQL server of the tests' own: a private cluster behind a Unix socket."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from pathlib import Path

_DEBIAN = Path("/usr/lib/postgresql")
_USER = "postgres"
LONGEST_WAIT_S = 300


class NoPostgresqlError(Exception):
    """PostgreSQL cannot be had here."""


def find_program(name: str) -> Path:
    """A program of PostgreSQL, from Debian's folders or the path."""
    newest_first = sorted(_DEBIAN.glob(f"*/bin/{name}"), reverse=True)
    on_path = shutil.which(name)
    found = [*newest_first, *([Path(on_path)] if on_path else [])]
    if not found:
        raise NoPostgresqlError(f"{name} of PostgreSQL is not installed")
    return found[0]


class Cluster:
    """A cluster that can be stopped and started; `postgres` is its superuser."""

    def __init__(self, folder: Path) -> None:
        """Make the cluster; `folder` must be short, because the path of a socket is limited."""
        self._bin = find_program("initdb").resolve().parent
        self._data, self._log, self.socket = folder / "data", folder / "log", folder
        if os.geteuid() == 0:  # initdb refuses to run as root
            try:
                user = pwd.getpwnam(_USER)
            except KeyError:
                raise NoPostgresqlError(f"there is no user {_USER}") from None
            os.chown(folder, user.pw_uid, user.pw_gid)
        self._run("initdb", "--auth=trust", f"--username={_USER}", "--encoding=UTF8", "--no-sync")
        with (self._data / "postgresql.conf").open("a") as file:
            file.write(f"listen_addresses = ''\nunix_socket_directories = '{folder}'\n")
            file.write("fsync = off\n")  # tests end its processes; none cuts the power
        self.start()

    def url(self, database: str = "postgres", user: str = _USER) -> str:
        return f"postgresql+psycopg://{user}@/{database}?host={self.socket}"

    def start(self) -> None:
        self._run("pg_ctl", "start", "-w", "-l", str(self._log))

    def stop(self, mode: str = "immediate") -> None:
        """Stop; `immediate` is a crash for the server."""
        self._run("pg_ctl", "stop", "-w", "-m", mode)

    def is_running(self) -> bool:
        return (self._data / "postmaster.pid").exists()

    def psql(self, sql: str, database: str = "postgres") -> str:
        socket = f"--host={self.socket}"
        arguments = ["--no-psqlrc", "-qAt", "-v", "ON_ERROR_STOP=1", f"--username={_USER}"]
        return self._call([self._bin / "psql", socket, *arguments, "-c", sql, database])

    def _run(self, program: str, *arguments: str) -> None:
        self._call([self._bin / program, *arguments, "-D", self._data])

    def _call(self, command: list[str | Path]) -> str:
        as_user: list[str] = []
        if os.geteuid() == 0:
            as_user = ["setpriv", f"--reuid={_USER}", f"--regid={_USER}", "--clear-groups", "--"]
        # Not a pipe: the server would keep it open.
        log = self.socket / "output"
        with log.open("w+b") as output:
            done = subprocess.run(
                [*as_user, *map(str, command)],
                cwd=self.socket,
                env={"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": str(self.socket)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=LONGEST_WAIT_S,
                check=False,
            )
            output.seek(0)
            text = output.read().decode()
        assert done.returncode == 0, text
        return text
