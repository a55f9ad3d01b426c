#!/usr/bin/python
"""The module `build_context`: packs files of the repository for the builds of images, with modes that are ours."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: build_context
short_description: Pack files for the builds of images
description:
  - Writes a gzipped tar archive. What is in it depends on the names and the contents of the files, and on which of them
    their owner may execute, and on nothing else; least of all on the umask under which the repository was cloned.
  - Directories and executable files have the mode 0755, other files 0644. All belong to root.
  - Python's caches are left out.
options:
  root: {description: The directory that the names in the archive begin below., type: str, required: true}
  paths: {description: Files and directories below it., type: list, elements: str, required: true}
  dest: {description: The archive., type: str, required: true}
"""

# The beginning of the time that zip files know: some tools dislike what is older.
LONG_AGO = 315532800


def pack(root: Path, paths: Sequence[str], dest: Path) -> None:
    with tarfile.open(dest, "w:gz") as archive:
        for name in sorted(set(_names(root, paths))):
            member = archive.gettarinfo(root / name, arcname=str(name))
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            member.mtime, member.uid, member.gid, member.uname, member.gname = LONG_AGO, 0, 0, "root", "root"
            if member.isreg():
                with (root / name).open("rb") as file:
                    archive.addfile(member, file)
            else:
                archive.addfile(member)


def _names(root: Path, paths: Sequence[str]) -> Iterator[Path]:
    """The names of all that is packed, the directories on the way to it as well."""
    for path in map(Path, paths):
        yield from path.parents[:-1]
        for found in [root / path, *(root / path).rglob("*")]:
            if "__pycache__" not in found.parts and found.suffix != ".pyc":
                yield found.relative_to(root)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            # Not of the type path, which takes a $ in a name for a variable.
            "root": {"type": "str", "required": True},
            "paths": {"type": "list", "elements": "str", "required": True},
            "dest": {"type": "str", "required": True},
        }
    )
    try:
        pack(Path(module.params["root"]), module.params["paths"], Path(module.params["dest"]))
    except OSError as error:
        module.fail_json(
            msg=f"cannot pack {error.filename}: {error.strerror}. Whoever runs this must be able to read it."
        )
    module.exit_json(changed=True)


if __name__ == "__main__":
    main()
