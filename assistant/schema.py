"""The memory's file: its SQLite tables, how it is opened, and who may write to it."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from pathlib import Path
from typing import IO

from vljepa_edge.assistant.errors import MemoryFileError

APPLICATION_ID = 0x766C6A6D  # "vljm": tells our files from other SQLite files
SCHEMA_VERSION = 1

# `changed` counts writes, so that a search finds what is new since it last looked.
_TABLES = """
CREATE TABLE bundles (
    id INTEGER PRIMARY KEY,
    sha256 TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    width INTEGER NOT NULL
);
CREATE TABLE segments (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    bundle INTEGER NOT NULL REFERENCES bundles (id),
    source TEXT NOT NULL,
    query TEXT NOT NULL,
    start_ns INTEGER NOT NULL,
    end_ns INTEGER NOT NULL,
    text TEXT NOT NULL,
    windows INTEGER NOT NULL,
    scale REAL NOT NULL,
    vector BLOB NOT NULL,
    changed INTEGER NOT NULL
);
CREATE INDEX segments_by_time ON segments (start_ns);
CREATE INDEX segments_by_change ON segments (changed);
CREATE TABLE thumbnails (
    segment INTEGER PRIMARY KEY REFERENCES segments (id) ON DELETE CASCADE,
    jpeg BLOB NOT NULL
);
"""


def connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """Opens a memory; makes it where it isn't there and may be written. MemoryFileError."""
    if read_only and not path.is_file():
        raise MemoryFileError(f"{path}: no such memory; `vljepa assist --memory {path}` makes one")
    if not path.parent.is_dir():
        raise MemoryFileError(f"{path}: there is no folder {path.parent}")
    if not path.exists():
        # Only its owner may read it: it tells what a camera saw.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    mode = "ro" if read_only else "rw"
    try:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}",
            uri=True,
            check_same_thread=False,
            isolation_level=None,  # transactions are written out
            timeout=5.0,
        )
        _prepare(connection, path, read_only)
    except sqlite3.Error as error:
        raise MemoryFileError(f"{path}: cannot be opened as a memory ({error})") from error
    return connection


def _prepare(connection: sqlite3.Connection, path: Path, read_only: bool) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if tables and application != APPLICATION_ID:
        raise MemoryFileError(f"{path}: an SQLite file, but not a memory of vljepa")
    if tables and version != SCHEMA_VERSION:
        raise MemoryFileError(
            f"{path}: its form is version {version}, this program reads {SCHEMA_VERSION}"
        )
    connection.execute("PRAGMA foreign_keys = ON")
    if read_only:
        return
    if not tables:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute("PRAGMA journal_mode = WAL")
    # A killed process loses nothing that was committed; a power cut may lose the last commits, and
    # never damages the file.
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA wal_autocheckpoint = 256")
    connection.execute(f"PRAGMA journal_size_limit = {2 << 20}")
    if not tables:
        connection.executescript(
            f"BEGIN; {_TABLES} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
        )


def used_bytes(connection: sqlite3.Connection) -> int:
    """Bytes of the file that hold something: pages that are free again don't count."""
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    free = connection.execute("PRAGMA freelist_count").fetchone()[0]
    size = connection.execute("PRAGMA page_size").fetchone()[0]
    return int((pages - free) * size)


class WriterLock:
    """One writing process per memory. A file of its own: SQLite's locks live on the database."""

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(path.name + "-lock")
        self._file: IO[str] | None = None
        file = self.path.open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            raise MemoryFileError(
                f"{path}: another assistant is writing to it; stop that one first"
            ) from error
        self._file = file

    def release(self) -> None:
        """Lets another process write. A second call does nothing."""
        if self._file is not None:
            self._file.close()
            self._file = None


def files_of(path: Path) -> list[Path]:
    """The memory and the files that SQLite and the lock keep beside it."""
    return [path, *(path.with_name(path.name + end) for end in ("-wal", "-shm", "-lock"))]
