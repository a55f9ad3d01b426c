"""The function content_hash: names content, and nothing but content."""

import os
from pathlib import Path
from typing import Any

import pytest

from courseload.content_hash import content_hash


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "relay"
    (root / "inner").mkdir(parents=True)
    (root / "app.py").write_text("print('relay')\n")
    (root / "inner/data.txt").write_text("1\n")
    return root


def test_is_twelve_hexadecimal_digits(tree: Path) -> None:
    assert len(content_hash([str(tree)])) == 12
    int(content_hash([str(tree)]), 16)


def test_one_path_may_be_given_as_a_string(tree: Path) -> None:
    assert content_hash(str(tree)) == content_hash([str(tree)])


def test_is_the_same_wherever_the_tree_lies(tree: Path, tmp_path: Path) -> None:
    before = content_hash([str(tree)])
    (tmp_path / "elsewhere").mkdir()
    moved = tree.rename(tmp_path / "elsewhere/relay")
    assert content_hash([str(moved)]) == before


def test_does_not_depend_on_times(tree: Path) -> None:
    before = content_hash([str(tree)])
    os.utime(tree / "app.py", (1, 1))
    assert content_hash([str(tree)]) == before


def test_does_not_see_what_python_leaves_behind(tree: Path) -> None:
    before = content_hash([str(tree)])
    (tree / "__pycache__").mkdir()
    (tree / "__pycache__/app.cpython-311.opt-1.pyc").write_bytes(b"\0")
    (tree / "stray.pyc").write_bytes(b"\0")
    assert content_hash([str(tree)]) == before


def test_does_not_depend_on_the_mask_under_which_the_files_were_made(tree: Path) -> None:
    before = content_hash([str(tree)])
    (tree / "app.py").chmod(0o600)
    (tree / "inner").chmod(0o700)
    assert content_hash([str(tree)]) == before


def change_a_byte(tree: Path) -> None:
    (tree / "inner/data.txt").write_text("2\n")


def rename_a_file(tree: Path) -> None:
    (tree / "inner/data.txt").rename(tree / "inner/data2.txt")


def move_a_file(tree: Path) -> None:
    (tree / "inner/data.txt").rename(tree / "data.txt")


def add_an_empty_file(tree: Path) -> None:
    (tree / "empty").touch()


def make_a_file_executable(tree: Path) -> None:
    (tree / "app.py").chmod(0o755)


def add_a_broken_link(tree: Path) -> None:
    (tree / "link").symlink_to("nowhere")


@pytest.mark.parametrize(
    "change",
    [change_a_byte, rename_a_file, move_a_file, add_an_empty_file, make_a_file_executable, add_a_broken_link],
)
def test_changes_when_a_build_would_see_the_difference(tree: Path, change: Any) -> None:
    before = content_hash([str(tree)])
    change(tree)
    assert content_hash([str(tree)]) != before


def test_counts_further_values_and_keeps_them_apart(tree: Path) -> None:
    paths = [str(tree)]
    assert len({content_hash(paths, *extra) for extra in [(), ("",), ("ab", "c"), ("a", "bc"), ("abc",), (1,)]}) == 6


def test_a_missing_path_counts_as_empty_until_it_exists(tmp_path: Path) -> None:
    path = tmp_path / "later"
    before = content_hash([str(path)])
    path.mkdir()
    assert content_hash([str(path)]) == before
    (path / "file").touch()
    assert content_hash([str(path)]) != before


def test_says_which_file_it_cannot_read(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(ValueError, match=r"cannot read .*app\.py: Permission denied"):
        content_hash([str(tree)])
