"""The tables of settings in docs/: written from the defaults of the roles and their argument specs.

A page says where a table is and what is in it, and this module fills it in:

    <!-- options: ingress_port ingress_address -->
    <!-- end of options -->

A setting of the role `settings` is described by the comment above it, an option of another role by its argument
spec.
After a change of a setting: PYTHONPATH=tests .venv/bin/python -m helpers.options
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"
SETTINGS = REPOSITORY / "roles/settings/defaults/main"

_TABLE = re.compile(
    r"^(<!-- options: (?P<names>[\w\s]+) -->\n)(?:.*?)(^<!-- end of options -->$)",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Setting:
    """A variable at the top level of a file. Those under one comment, without a blank line between them, share it."""

    name: str
    value: object
    comment: str
    block: str  # what it shares with those under the same comment, and with no others
    file: str

    @property
    def computed(self) -> bool:
        return isinstance(self.value, str) and "{{" in self.value

    @property
    def default(self) -> str:
        return "computed" if self.computed else f"`{_flow(self.value)}`"


def page_with_tables(text: str) -> str:
    """A page with its tables written anew."""
    return _TABLE.sub(_filled, text)


def names_in(text: str) -> list[str]:
    """The settings that a page has in its tables."""
    return [name for match in _TABLE.finditer(text) for name in match["names"].split()]


@cache
def settings() -> Mapping[str, Setting]:
    """What the role `settings` has, by name."""
    return {s.name: s for path in sorted(SETTINGS.glob("*.yml")) for s in settings_of(path)}


@cache
def role_defaults() -> Mapping[str, Setting]:
    return {s.name: s for path in sorted(REPOSITORY.glob("roles/*/defaults/main.yml")) for s in settings_of(path)}


@cache
def descriptions() -> Mapping[str, str]:
    """What the argument specs say of each role's options, by the option's name."""
    found: dict[str, str] = {}
    for path in sorted(REPOSITORY.glob("roles/*/meta/argument_specs.yml")):
        for entry in yaml.safe_load(path.read_text())["argument_specs"].values():
            for name, option in (entry.get("options") or {}).items():
                found.setdefault(name, _plain(option.get("description", "")))
    return found


def settings_of(path: Path) -> Iterator[Setting]:
    """The variables of a file, in its order."""
    text = path.read_text()
    values: dict[str, object] = yaml.safe_load(text) or {}
    file = str(path.relative_to(REPOSITORY)) if path.is_relative_to(REPOSITORY) else path.name
    comment: list[str] = []
    block, fresh = "", True
    for line in text.splitlines():
        if line.startswith("#"):
            comment = [*comment, line.lstrip("# ")] if fresh else [line.lstrip("# ")]
            block, fresh = "", True
        elif not line.strip():
            comment, block, fresh = [], "", True
        elif match := re.match(r"(\w+):", line):
            block, fresh = block or match[1], False
            yield Setting(match[1], values[match[1]], " ".join(comment), f"{file}:{block}", file)


def _filled(match: re.Match[str]) -> str:
    rows = "\n".join(_rows(match["names"].split()))
    return f"{match[1]}\n| setting | default | what it is |\n|---|---|---|\n{rows}\n\n{match[3]}"


def _rows(names: Iterable[str]) -> Iterator[str]:
    described = [_described(name) for name in names]
    for (text, _), together in groupby(described, key=lambda entry: (entry[0], entry[1].block)):
        settings = [setting for _, setting in together]
        cells = [
            "<br>".join(f"`{setting.name}`" for setting in settings),
            "<br>".join(setting.default for setting in settings),
            text.replace("<", "&lt;").replace("*", "\\*"),
        ]
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _described(name: str) -> tuple[str, Setting]:
    """A setting and what is said of it; an error where nobody sets or describes it."""
    ours = settings().get(name)
    setting = ours or role_defaults().get(name)
    if setting is None:
        raise LookupError(f"{name} is in no defaults of a role: take it out of the table, or correct it.")
    text = (ours.comment if ours else "") or descriptions().get(name, "") or setting.comment
    if not text:
        raise LookupError(f"{name} is described nowhere: write a comment above it in {setting.file}.")
    return text, setting


def _plain(description: str | list[str]) -> str:
    """An argument spec's description as Markdown."""
    text = description if isinstance(description, str) else " ".join(description)
    return re.sub(r"C\(([^)]*)\)", r"`\1`", text)


def _flow(value: Any) -> str:
    """A value as it would be written in YAML, on one line."""
    if value == "":
        return '""'
    return " ".join(yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000).split()).removesuffix(
        " ..."
    )


def main() -> None:
    for path in sorted(DOCS.glob("*.md")):
        path.write_text(page_with_tables(path.read_text()))


if __name__ == "__main__":
    main()
