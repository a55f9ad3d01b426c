"""Settings of the kernel: which are not as they should be, and the files that keep them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc/sys")


@dataclass(frozen=True)
class Setting:
    """A setting that is not as it should be, now or at the next start."""

    name: str
    now: str
    value: str
    proc: Path = PROC

    def apply(self) -> None:
        if self.now != self.value:
            _file(self.name, self.proc).write_text(f"{self.value}\n")


def pending(exact: Mapping[str, object], least: Mapping[str, object], text: str, proc: Path = PROC) -> list[Setting]:
    """What is to be set: `exact` values, and those that are at `least` so high. `text` is what is set at each start."""
    lines = _values(text)
    found = []
    for name in [*exact, *least]:
        now = " ".join(_file(name, proc).read_text().split())
        value = str(exact[name]) if name in exact else str(max(int(now), int(str(least[name]))))
        if now != value or lines.get(name) != value:
            found.append(Setting(name, now, value, proc))
    return found


def written(text: str, settings: Iterable[Setting]) -> str:
    """The file for each start with these settings in it; other lines stay."""
    values = {setting.name: setting.value for setting in settings}
    others = [line for line in text.splitlines() if _name(line) not in values]
    return "".join(f"{line}\n" for line in [*others, *(f"{name}={value}" for name, value in values.items())])


def remembered(text: str, settings: Iterable[Setting]) -> str:
    """What settings were before they were first changed, a line for each; `text` is what is known of that already."""
    known = _values(text)
    new = [setting for setting in settings if setting.now != setting.value and setting.name not in known]
    return text + "".join(f"{setting.name}={setting.now}\n" for setting in new)


def _file(name: str, proc: Path) -> Path:
    return proc / name.replace(".", "/")


def _values(text: str) -> dict[str, str]:
    return {_name(line): " ".join(line.partition("=")[2].split()) for line in text.splitlines()}


def _name(line: str) -> str:
    return line.partition("=")[0].strip()
