"""The module sqlite_backup: a copy of one moment, while others write."""

import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from helpers.plugins import load

copy = load("modules", "sqlite_backup").copy


def test_a_copy_has_what_was_committed_and_nothing_else(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "state.db")) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("CREATE TABLE kine (value)")
        writer.execute("INSERT INTO kine VALUES ('committed')")
        writer.commit()
        writer.execute("INSERT INTO kine VALUES ('under way')")
        copy(tmp_path / "state.db", tmp_path / "copy.db")
    with closing(sqlite3.connect(tmp_path / "copy.db")) as reader:
        assert reader.execute("SELECT value FROM kine").fetchall() == [("committed",)]
    assert stat.S_IMODE((tmp_path / "copy.db").stat().st_mode) == 0o600


def test_a_database_that_is_not_there_is_an_error_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError):
        copy(tmp_path / "state.db", tmp_path / "copy.db")
    assert not (tmp_path / "state.db").exists()
    assert not (tmp_path / "copy.db").exists()
