"""Removes files and directories, one by one, and notes which."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Sweep:
    """In check mode it only notes. It removes nothing across `mounts`: one may be a disk of the host's own."""

    check: bool
    mounts: Sequence[str] = ()
    removed: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)  # sentences

    def file(self, path: Path) -> None:
        if path.is_symlink() or path.exists():
            self._remove(path)

    def tree(self, path: Path) -> None:
        """A directory and all that is in it; of one that is a disk of its own only the latter."""
        if path.is_symlink() or not path.is_dir():
            return
        if below := [mount for mount in self.mounts if mount.startswith(f"{path}/")]:
            self.left.append(f"{path} stays, since something is still mounted in it ({', '.join(below)}).")
        elif str(path) in self.mounts:
            for entry in sorted(path.iterdir()):
                self._remove(entry)
        else:
            self._remove(path)

    def empty(self, path: Path) -> None:
        """A directory, where nothing is left in it."""
        if path.is_symlink() or not path.is_dir() or str(path) in self.mounts:
            return
        if all(str(entry) in self.removed for entry in path.iterdir()):
            self._remove(path, Path.rmdir)

    def rewrite(self, path: Path, text: str) -> None:
        """Leaves only this of what is in a file, and no file without any."""
        if not text.strip():
            self.file(path)
        elif text != path.read_text(errors="replace"):
            self.removed.append(f"our lines in {path}")
            if not self.check:
                path.write_text(text)

    def _remove(self, path: Path, directory: Callable[[Path], None] = shutil.rmtree) -> None:
        self.removed.append(str(path))
        if not self.check:
            (directory if path.is_dir() and not path.is_symlink() else Path.unlink)(path)
