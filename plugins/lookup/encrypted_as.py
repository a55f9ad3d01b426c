"""The lookup `encrypted_as`: a text as it is to be written beside a file that Ansible Vault may have encrypted.

    content: "{{ lookup('encrypted_as', '/path/to/anchor.key', key) }}"

Where that file is encrypted, so is the text, with the password that decrypts the file; otherwise, and where there is no
such file, it is returned as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.parsing.vault import is_encrypted
from ansible.plugins.lookup import LookupBase


class LookupModule(LookupBase):
    def run(self, terms: Sequence[str], variables: Mapping[str, Any] | None = None, **options: Any) -> list[str]:
        """A list of one text; the terms are the path of the file, and the text. Without the password it fails."""
        path, text = terms
        beside = Path(path).read_bytes() if Path(path).is_file() else b""
        if not is_encrypted(beside):
            return [text]
        # Which of several passwords that is, only Vault itself can tell.
        vault = self._loader._vault  # noqa: SLF001 (Ansible has no other way to its passwords)
        _, name, password = vault.decrypt_and_get_vault_id(beside)
        return [vault.encrypt(text, secret=password, vault_id=name).decode()]
