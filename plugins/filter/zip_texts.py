"""The filter `zip_texts`: the texts of the files in a zip archive whose names match a pattern."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase

from ansible.errors import AnsibleFilterError


def zip_texts(path: str, pattern: str) -> list[str]:
    """Reads every file of the archive at `path` whose name matches the shell pattern, in the order of their names.

    Archives of Go modules are read with it where they are: the module `unarchive` would need unzip on the control
    machine, and a place to leave the files.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = sorted(name for name in archive.namelist() if fnmatchcase(name, pattern))
            texts = [archive.read(name).decode() for name in names]
    except (OSError, zipfile.BadZipFile, UnicodeDecodeError) as error:
        raise AnsibleFilterError(f"zip_texts cannot read {path}: {error}") from error
    if not texts:
        raise AnsibleFilterError(f"zip_texts finds no file {pattern} in {path}")
    return texts


class FilterModule:
    def filters(self) -> Mapping[str, Callable[..., list[str]]]:
        return {"zip_texts": zip_texts}
