"""Fetch a collection: in the end every file is right, or each wrong one is named."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from app.core.errors import TileError
from app.core.tile import TileLimits, decode_tile
from training.collection.checksums import SUMS_NAME, format_sums, read_sums
from training.collection.download import (
    BrokenFileError,
    Downloader,
    StoppedError,
    UnreachableError,
)
from training.collection.mirror import Mirror, RemoteFile, list_files, looks_like_a_page
from training.data.annotations import Table, find_table, read_table
from training.data.tile_names import file_stem_of, parse_tile_name
from training.errors import DataError, FetchError
from training.storage.atomic import PART_SUFFIX, try_lock, write_bytes_whole
from training.storage.disk import RESUMES, writing

_LIMITS: Final = TileLimits(max_bytes=2**30)
_UNREACHABLE_IN_A_ROW: Final = 8
"""After this many files in a row without a response, the server is unreachable."""

Track = Callable[[Sequence[Future["Outcome"]]], Iterable[Future["Outcome"]]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome for one file: its SHA-256, or the reason why it is not right."""

    file: RemoteFile
    sha256: str | None
    reason: str = ""
    was_here: bool = False
    unreachable: bool = False


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a fetch left in the folder.

    Attributes:
        table: the collection's table.
        right: classification of each tile that is right, by the stem of its name.
        wrong: one line for each file that is not right or not listed, with the reason.
        n_were_here: files that were in the folder already.
        n_published: files whose hash the mirror (or `hashes`) lists; others were decoded.
        n_without_row: listed tiles that the table does not name; they were not fetched.
    """

    table: Table
    right: Mapping[str, str]
    wrong: tuple[str, ...]
    n_were_here: int
    n_published: int
    n_without_row: int


class Fetch:
    """One fetch of a mirror into a folder."""

    def __init__(self, mirror: Mirror, data_dir: Path, downloader: Downloader, jobs: int) -> None:
        self._mirror, self._data_dir = mirror, data_dir
        self._downloader, self._jobs = downloader, jobs
        self._recorded: dict[str, str] = {}

    def run(self, track: Track, hashes: Mapping[str, str], table: str | None = None) -> Fetched:
        """Fetch the table, then every tile that it names.

        Args:
            track: wraps the downloads to show progress.
            hashes: SHA-256 by path, from a source more trusted than the mirror; may be empty.
            table: name of the table, if the mirror has several.

        Raises:
            FetchError: the mirror has no table, lists no tiles, or no longer responds.
            DataError: the folder is not writable, another fetch uses it, or the table cannot be
                read.
        """
        with self._recording():
            listed = list_files(self._mirror, self._downloader.read_text)
            files = [RemoteFile(f.path, hashes.get(f.path, f.sha256)) for f in listed]
            tables = [f for f in files if f.is_table and table in (None, f.path)]
            outcomes = list(self._fetch_all(tables, track))
            for outcome in outcomes:
                if outcome.sha256 is None:
                    raise FetchError(f"{self._mirror.shown}{outcome.file.path}: {outcome.reason}.")
            rows = read_table(self._data_dir / table if table else find_table(self._data_dir))
            wanted = {file_stem_of(row.name): row.classification for row in rows.rows}
            tiles = [f for f in files if not f.is_table]
            chosen = [f for f in tiles if file_stem_of(f.stem) in wanted]
            outcomes += self._fetch_all(chosen, track)
        return self._sum_up(rows, wanted, outcomes, len(tiles) - len(chosen))

    @contextlib.contextmanager
    def _recording(self) -> Iterator[None]:
        """Lock the folder, and leave the hashes of the files that are right in `SHA256SUMS`."""
        sums, lock = self._data_dir / SUMS_NAME, self._data_dir / f"{SUMS_NAME}.lock"
        with writing(self._data_dir, DataError, "--data-dir"):
            self._data_dir.mkdir(parents=True, exist_ok=True)
            stream = lock.open("wb")
        with stream:
            if not try_lock(stream):
                raise DataError(
                    f"Another fetch is using {self._data_dir}. Wait until it ends, or stop it."
                )
            for left in self._data_dir.glob(f"Training-Set-*/*/*{PART_SUFFIX}"):
                left.unlink(missing_ok=True)  # of a fetch that was killed
            with contextlib.suppress(DataError):
                self._recorded = read_sums(sums)
            try:
                yield
            finally:
                with contextlib.suppress(OSError):  # a full disk has been reported by then
                    write_bytes_whole(sums, format_sums(self._recorded).encode())
                lock.unlink(missing_ok=True)

    def _fetch_all(self, files: Sequence[RemoteFile], track: Track) -> Iterator[Outcome]:
        """Verify or download every file, several at a time, and yield outcomes in order."""
        n_unreachable = 0
        pool = ThreadPoolExecutor(self._jobs, thread_name_prefix="fetch")
        try:
            recorded = dict(self._recorded)
            futures = [pool.submit(self._fetch_one, file, recorded) for file in files]
            for future in track(futures):
                outcome = future.result()
                n_unreachable = n_unreachable + 1 if outcome.unreachable else 0
                self._require_server(n_unreachable, outcome.reason)
                if outcome.sha256 is None:
                    self._recorded.pop(outcome.file.path, None)
                else:
                    self._recorded[outcome.file.path] = outcome.sha256
                yield outcome
        except BaseException:
            self._downloader.stop()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _require_server(self, n_unreachable: int, reason: str) -> None:
        if n_unreachable == _UNREACHABLE_IN_A_ROW:
            raise FetchError(
                f"{self._mirror.shown} no longer answers ({reason}). Run the same command again "
                "later: it fetches what is missing."
            )

    def _fetch_one(self, file: RemoteFile, recorded: Mapping[str, str]) -> Outcome:
        target = self._data_dir / file.path
        # A file that was damaged later, or that is another version, is fetched again.
        with contextlib.suppress(BrokenFileError, OSError):
            content = target.read_bytes()
            require_right(file, content, file.sha256 or recorded.get(file.path))
            return Outcome(file, sha256(content).hexdigest(), was_here=True)
        try:
            content = self._downloader.download(
                file.path, lambda content: require_right(file, content, file.sha256)
            )
        except StoppedError:
            return Outcome(file, None, "the fetch was stopped")
        except UnreachableError as error:
            return Outcome(file, None, str(error), unreachable=True)
        except (BrokenFileError, FetchError) as error:
            return Outcome(file, None, str(error))
        with writing(target, DataError, "--data-dir", RESUMES):
            target.parent.mkdir(parents=True, exist_ok=True)
            write_bytes_whole(target, content)
        return Outcome(file, sha256(content).hexdigest())

    def _sum_up(
        self,
        table: Table,
        wanted: Mapping[str, str],
        outcomes: Sequence[Outcome],
        n_without_row: int,
    ) -> Fetched:
        listed = {file_stem_of(o.file.stem) for o in outcomes if not o.file.is_table}
        right = {file_stem_of(o.file.stem) for o in outcomes if not o.file.is_table and o.sha256}
        wrong = [f"{o.file.path}: {o.reason}" for o in outcomes if o.sha256 is None]
        wrong += [
            f"{stem}: the table names it, the mirror does not list it"
            for stem in sorted(wanted.keys() - listed)
        ]
        return Fetched(
            table=table,
            right={stem: wanted[stem] for stem in sorted(right)},
            wrong=tuple(wrong),
            n_were_here=sum(o.was_here for o in outcomes),
            n_published=sum(o.file.sha256 is not None for o in outcomes),
            n_without_row=n_without_row,
        )


def require_right(file: RemoteFile, content: bytes, expected: str | None) -> None:
    """Check the content of a file by its SHA-256 if that is known, else by reading it.

    Raises:
        BrokenFileError: it is not right.
    """
    found = sha256(content).hexdigest()
    if found == expected:
        return
    if looks_like_a_page(content[:64]):
        raise BrokenFileError("a web page came instead of the file (does it want a login?)")
    if expected is not None:
        raise BrokenFileError(f"its SHA-256 is {found}, not {expected}")
    try:
        if file.is_table:
            content.decode("utf-8-sig")
        else:
            decode_tile(content, _LIMITS)
    except UnicodeDecodeError as error:
        raise BrokenFileError("it is not text") from error
    except TileError as error:
        raise BrokenFileError(str(error).rstrip(".")) from error


def count_by_case(right: Mapping[str, str]) -> dict[str, Counter[str]]:
    """Tiles by case and by the table's classification; `?` stands for an unreadable name."""
    counts: dict[str, Counter[str]] = {}
    for stem, classification in right.items():
        try:
            case = parse_tile_name(stem).case
        except ValueError:
            case = "?"
        counts.setdefault(case, Counter())[classification] += 1
    return counts
