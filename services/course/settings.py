"""Settings from the environment: typed, checked at the start, each error naming the variable to change."""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self, TypeVar
from urllib.parse import urlsplit

import msgspec

Settings = TypeVar("Settings")


class BadSetting(ValueError):
    """A variable that is missing or wrong; the message names it and says what it must be."""


class Environment:
    """Reads settings from environment variables; each method raises `BadSetting` naming the variable."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables

    def text(self, name: str, default: str | None = None) -> str:
        """A variable that must not be empty."""
        value = self._variables.get(name, "").strip() or default
        if value is None:
            raise BadSetting(f"{name} is not set")
        return value

    def port(self, name: str, default: int) -> int:
        """A TCP port."""
        return self.number(name, default, low=1, high=65535)

    def number(self, name: str, default: int, *, low: int, high: int) -> int:
        """A whole number from `low` to `high`."""
        value = self.text(name, str(default))
        if not (value.isascii() and value.isdigit() and low <= int(value) <= high):
            raise BadSetting(f"{name} must be a whole number from {low} to {high}, not {value!r}")
        return int(value)

    def secret_url(self, name: str, *schemes: str) -> str:
        """A URL with credentials: the variable itself, or the contents of the file that `<name>_FILE` names."""
        file = self._variables.get(f"{name}_FILE", "").strip()
        if file and self._variables.get(name, "").strip():
            raise BadSetting(f"set either {name} or {name}_FILE, not both")
        return self._url(
            f"{name}_FILE" if file else name, self._contents(name, file) if file else self.text(name), schemes
        )

    def optional_url(self, name: str, *schemes: str) -> str | None:
        """A URL, or None when the variable is not set or empty."""
        value = self._variables.get(name, "").strip()
        return self._url(name, value, schemes) if value else None

    @staticmethod
    def _contents(name: str, file: str) -> str:
        try:
            return Path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as problem:
            raise BadSetting(f"{name}_FILE: cannot read {file!r}: {problem}") from None

    @staticmethod
    def _url(name: str, value: str, schemes: tuple[str, ...]) -> str:
        # The value may carry a password: the error shows none of it.
        try:
            good = urlsplit(value).scheme in schemes and bool(urlsplit(value).netloc)
        except ValueError:
            good = False
        if not good:
            raise BadSetting(f"{name} must be a URL that starts with {' or '.join(s + '://' for s in schemes)}")
        return value


def settings_or_exit(read: Callable[[Mapping[str, str]], Settings]) -> Settings:
    """What `read` makes of the environment; a bad setting ends the process with the one sentence a person needs."""
    try:
        return read(os.environ)
    except BadSetting as problem:
        sys.exit(f"courseload: {problem}")


class DatabaseSettings(msgspec.Struct, frozen=True):
    """What a service needs to know that talks to both databases: where it listens, and where they are."""

    host: str
    port: int
    mongodb_uri: str
    redis_url: str

    @classmethod
    def read_as(cls, name: str, port: int, variables: Mapping[str, str]) -> Self:
        """The settings in environment variables, of which its own begin with `name`; raises `BadSetting`."""
        env = Environment(variables)
        return cls(
            host=env.text(f"{name}_HOST", "0.0.0.0"),
            port=env.port(f"{name}_PORT", port),
            mongodb_uri=env.secret_url("MONGODB_URI", "mongodb", "mongodb+srv"),
            redis_url=env.secret_url("REDIS_URL", "redis", "rediss"),
        )
