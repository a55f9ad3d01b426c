"""A run does not begin before somebody follows it: whoever follows it can end it."""

import pytest

from loadgen import __main__ as loadgen


def test_a_run_that_nobody_follows_ends_with_a_sentence(directory, monkeypatch):
    monkeypatch.setattr(loadgen, "FOLLOWER_S", 0.2)
    with pytest.raises(SystemExit, match=r"nobody has followed this run within 0\.2 s"):
        loadgen._await_follower(directory)


def test_a_run_that_is_followed_begins(directory, monkeypatch):
    monkeypatch.setattr(loadgen, "FOLLOWER_S", 0.2)
    directory.followed.touch()
    loadgen._await_follower(directory)
