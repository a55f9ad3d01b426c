#!/usr/bin/python
"""The module `credentials`: generates passwords once, and writes the files that carry them."""

from __future__ import annotations

import secrets
import stat
import string
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ansible.module_utils.basic import AnsibleModule

if TYPE_CHECKING:
    from courseload.credentials import PASSWORD, Files, fill, with_password
    from courseload.entries import Entry
else:
    from ansible.module_utils.courseload.credentials import PASSWORD, Files, fill, with_password
    from ansible.module_utils.courseload.entries import Entry

DOCUMENTATION = """
module: credentials
short_description: Generate passwords once, and write the files that carry them
description:
  - Each credential is a directory, which belongs to the containers' user (0700). In it are its files (0600), and its
    password in C(.password), which nobody but the user of this module can read.
  - A password that is there stays, unless it is given. Others get a random one.
options:
  path: {description: 'The directory of the credentials, which must exist.', type: path, required: true}
  owner: {description: The uid and gid of the containers' user., type: int, required: true}
  files:
    description: >-
      The files of each credential by its name: file names and contents. C({password}) stands for the password,
      C({password:other}) for that of another credential, which gets one as well.
    type: dict
    required: true
  passwords: {description: 'The passwords that are known, by name.', type: dict, default: {}}
  reveal: {description: Whether to return passwords; then the task needs C(no_log)., type: bool, default: false}
"""

RETURN = """
passwords:
  description: The passwords that were generated or read, by name. Those that were given are not repeated.
  type: dict
  returned: when I(reveal)
"""

LENGTH = 32
CHARACTERS = string.ascii_letters + string.digits


def stored(path: Path) -> str:
    """The password in a file; empty where there is none, or where somebody has put something else in its place."""
    try:
        return path.read_text() if stat.S_ISREG(path.lstat().st_mode) else ""
    except (FileNotFoundError, NotADirectoryError):
        return ""


def generate() -> str:
    return "".join(secrets.choice(CHARACTERS) for _ in range(LENGTH))


def entries(base: Path, owner: int, files: Mapping[str, Files], passwords: Mapping[str, str]) -> Iterator[Entry]:
    """All that should be below `base`, a directory before what is in it."""
    for name, password in passwords.items():
        yield Entry(base / name, 0o700, owner=(owner, owner))
        yield Entry(base / name / PASSWORD, 0o600, password)
        for file, text in files.get(name, {}).items():
            yield Entry(base / name / file, 0o600, fill(text, name, passwords), (owner, owner))


def main() -> None:
    """Runs the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "owner": {"type": "int", "required": True},
            "files": {"type": "dict", "required": True},
            "passwords": {"type": "dict", "default": {}, "no_log": True},
            "reveal": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    base, files, known = Path(module.params["path"]), module.params["files"], module.params["passwords"]
    if not base.is_dir() and not module.check_mode:
        module.fail_json(msg=f"{base} is not there: run site.yml, which makes it before any credential.")
    before, after = [], []
    try:
        passwords = {
            name: known.get(name) or stored(base / name / PASSWORD) or generate() for name in with_password(files)
        }
        for entry in entries(base, module.params["owner"], files, passwords):
            if (deviation := entry.deviation()) is not None:
                before.append(f"{entry.path}: {deviation}\n")
                after.append(f"{entry.path}: {entry}\n")
                if not module.check_mode:
                    entry.apply()
    except OSError as problem:
        module.fail_json(msg=f"The credentials in {base} cannot be kept: {problem.strerror} ({problem.filename}).")
    diff = {"before": "".join(before), "after": "".join(after)}
    revealed = {name: password for name, password in passwords.items() if name not in known}
    module.exit_json(changed=bool(after), diff=diff, **({"passwords": revealed} if module.params["reveal"] else {}))


if __name__ == "__main__":
    main()
