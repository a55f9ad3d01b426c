#!/usr/bin/python
"""Copies a SQLite database while others write into it: SQLite's own online backup, so that the copy is of one moment.

src   the database
dest  the copy, which only its owner reads; one that is there is replaced once the new one is whole
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

# Seconds that it waits for a writer.
PATIENCE = 30


def copy(src: Path, dest: Path) -> None:
    """Raises sqlite3.Error, and OSError."""
    part = dest.with_name(f"{dest.name}.part")
    part.unlink(missing_ok=True)
    part.touch(mode=0o600)
    with (
        # It must be there: SQLite would make an empty one.
        closing(sqlite3.connect(f"{src.as_uri()}?mode=rw", uri=True, timeout=PATIENCE)) as source,
        closing(sqlite3.connect(part)) as target,
    ):
        source.backup(target)
    part.rename(dest)


def main() -> None:
    """Does what Ansible asks for."""
    module = AnsibleModule(
        argument_spec={"src": {"type": "path", "required": True}, "dest": {"type": "path", "required": True}},
        supports_check_mode=True,
    )
    src, dest = (Path(module.params[name]) for name in ("src", "dest"))
    if not module.check_mode:
        try:
            copy(src, dest)
        except (OSError, sqlite3.Error) as problem:
            module.fail_json(msg=f"{src} cannot be copied to {dest}: {problem}")
    module.exit_json(changed=True)


if __name__ == "__main__":
    main()
