"""What was learned of the contents of files, kept for the next scan: their sha256, and what follows from it.

One SQLite file in the user's cache folder, which several processes may use at once. Each row carries a checksum, and a
file that is damaged or of another version is made anew: forgetting costs time, believing a wrong row costs a run.
"""

import contextlib
import hashlib
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Self

FORMAT = 1
MOST_ROWS = 4_000_000  # of each table; some 600 MB
_FLUSH_ROWS = 20_000
_BUSY_S = 20.0
_SETTLED_NS, _COARSE_NS = 50_000_000, 2_000_000_000  # steps of clocks of file systems; the latter of whole seconds
_TABLES = """
CREATE TABLE IF NOT EXISTS files (key BLOB PRIMARY KEY, value BLOB, day INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS facts (key BLOB PRIMARY KEY, value BLOB, day INTEGER) WITHOUT ROWID;
"""
_CHECK_BYTES = 8
_DAMAGED = {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_FORMAT, sqlite3.SQLITE_NOTADB}
_log = logging.getLogger(__name__)


class Stamp(NamedTuple):
    """What the system says of a file without reading it; a change of content changes one of these."""

    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, path: Path) -> Self:
        """Raises OSError as `os.stat`."""
        status = os.stat(path)  # noqa: PTH116 - half the time of Path.stat, once an opening
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    def is_settled(self, now_ns: int) -> bool:
        """Whether a later change is sure to have a later time, `now_ns` being before the content was read."""
        newest = max(self.mtime_ns, self.ctime_ns)
        step_ns = _SETTLED_NS if newest % 1_000_000_000 else _COARSE_NS
        return newest + step_ns < now_ns


class ContentCache:
    """sha256 by path and stamp, and facts by sha256; what cannot be kept or read costs time only.

    Args:
        folder: of the file; None remembers nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._path = None if folder is None else folder / "contents.sqlite"
        self._lock = threading.Lock()
        self._new: dict[str, dict[bytes, bytes]] = {"files": {}, "facts": {}}
        self._database = self._open()

    def sha256(self, path: Path, stamp: Stamp) -> bytes | None:
        """The sha256 of a file that is as it was when it was remembered."""
        known = self._recall("files", os.fsencode(path.absolute()))
        return known[-32:] if known is not None and known[:-32] == repr(tuple(stamp)).encode() else None

    def keep_sha256(self, path: Path, stamp: Stamp, sha256: bytes, *, read_at_ns: int) -> None:
        """Remembers the sha256 of a file with that stamp, unless it may have changed since within one tick."""
        if stamp.is_settled(read_at_ns):
            self._keep("files", os.fsencode(path.absolute()), repr(tuple(stamp)).encode() + sha256)

    def recall(self, sha256: bytes, key: str) -> bytes | None:
        """A fact about a content, None where it is not known.

        Args:
            sha256: of the content, or of several one after another.
            key: names the fact and all that it depends on beside the content, such as versions.
        """
        return self._recall("facts", _fact(sha256, key))

    def remember(self, sha256: bytes, key: str, value: bytes) -> None:
        """Keeps a fact about a content for this process and those after it."""
        self._keep("facts", _fact(sha256, key), value)

    def close(self) -> None:
        """Writes what is new, and drops the oldest where there is too much."""
        with self._lock:
            self._flush()
            self._drop_oldest()
            if self._database is not None:
                self._database.close()
                self._database = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> sqlite3.Connection | None:
        if self._path is None:
            return None
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            return self._connect(self._path)
        except (OSError, sqlite3.Error) as error:
            _log.info("what is known of files is not kept from run to run: %s (%s)", self._path, error)
            return None

    def _connect(self, path: Path) -> sqlite3.Connection:
        for attempt in (1, 2):
            database = sqlite3.connect(path, timeout=_BUSY_S, check_same_thread=False, isolation_level=None)
            try:
                database.execute("PRAGMA synchronous=OFF")  # a torn file is made anew, a torn row has a wrong checksum
                version = database.execute("PRAGMA user_version").fetchone()[0]
                if version in (0, FORMAT):
                    with _transaction(database):
                        for statement in _TABLES.strip().splitlines():
                            database.execute(statement)
                        database.execute(f"PRAGMA user_version={FORMAT}")
                    return database
                problem = f"it has format {version}, this version has {FORMAT}"
            except sqlite3.Error as error:
                if not _is_damage(error) or attempt == 2:
                    database.close()
                    raise
                problem = f"it is damaged ({error})"
            database.close()
            self._make_anew(problem)
        raise sqlite3.DatabaseError("it cannot be made anew")

    def _make_anew(self, problem: str) -> None:
        if self._path is None:
            return
        _log.warning("%s, which remembers contents of files, is made anew: %s", self._path, problem)
        for ending in ("", "-journal", "-wal", "-shm"):
            self._path.with_name(self._path.name + ending).unlink(missing_ok=True)

    def _recall(self, table: str, key: bytes) -> bytes | None:
        with self._lock:
            if key in self._new[table]:
                return self._new[table][key]
            if self._database is None:
                return None
            try:
                row = self._database.execute(f"SELECT value FROM {table} WHERE key=?", (key,)).fetchone()
            except sqlite3.Error as error:
                self._give_up(error)
                return None
        if row is None or not isinstance(row[0], bytes) or row[0][:_CHECK_BYTES] != _check(key, row[0][_CHECK_BYTES:]):
            return None
        return row[0][_CHECK_BYTES:]

    def _keep(self, table: str, key: bytes, value: bytes) -> None:
        with self._lock:
            self._new[table][key] = value
            if len(self._new[table]) >= _FLUSH_ROWS:
                self._flush()

    def _flush(self) -> None:
        new, self._new = self._new, {table: {} for table in self._new}
        if self._database is None or not any(new.values()):
            return
        day = int(time.time() // 86400)
        try:
            with _transaction(self._database):
                for table, rows in new.items():
                    values = ((key, _check(key, value) + value, day) for key, value in rows.items())
                    self._database.executemany(f"INSERT OR REPLACE INTO {table} VALUES (?, ?, ?)", values)
        except sqlite3.Error as error:
            self._give_up(error)

    def _drop_oldest(self) -> None:
        if self._database is None:
            return
        try:
            for table in self._new:
                count = self._database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
                if count > MOST_ROWS:
                    oldest = f"SELECT key FROM {table} ORDER BY day LIMIT {count - MOST_ROWS // 2}"
                    self._database.execute(f"DELETE FROM {table} WHERE key IN ({oldest})")
        except sqlite3.Error as error:
            self._give_up(error)

    def _give_up(self, error: sqlite3.Error) -> None:
        """Goes on without the file: it is busy, full, or cannot be written; a damaged one is taken away."""
        if self._database is not None:
            self._database.close()
            self._database = None
        if not _is_damage(error):
            _log.info("what is known of files is not kept from run to run: %s (%s)", self._path, error)
            return
        with contextlib.suppress(OSError):
            self._make_anew(f"it is damaged ({error})")


@contextlib.contextmanager
def _transaction(database: sqlite3.Connection) -> Iterator[None]:
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")


def _is_damage(error: sqlite3.Error) -> bool:
    """Whether it comes from what the file holds, not from a disk that is full or another process that is busy."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED


def _fact(sha256: bytes, key: str) -> bytes:
    return hashlib.sha256(sha256 + key.encode()).digest()


def _check(key: bytes, value: bytes) -> bytes:
    return hashlib.sha256(key + b"\0" + value).digest()[:_CHECK_BYTES]
