"""The pages that people read: links lead somewhere, the README is short, tables say what the settings say."""

import re
import tomllib
from pathlib import Path

import pytest

from helpers import options
from helpers.options import DOCS, REPOSITORY

PAGES = [
    *sorted(REPOSITORY.glob("*.md")),
    *sorted(DOCS.glob("*.md")),
    *(
        REPOSITORY / "tests/lab/README.md",
        REPOSITORY / "benchmarks/README.md",
        REPOSITORY / "files/dashboards/README.md",
    ),
]
README_LINES = 120
PAGE_LINES = 160
LINE = 160


def name_of(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def prose(text: str) -> str:
    """A page without its blocks of code, in which brackets are no links and # no headings."""
    return re.sub(r"^```[\s\S]*?^```$|^(?: {4}|\t).*$", "", text, flags=re.MULTILINE)


def links(page: Path) -> list[str]:
    """The targets within this repository that a page names."""
    targets = re.findall(r"(?:\]\(|<img src=\")([^)\"\s]+)[)\"]", prose(page.read_text()))
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def anchors(page: Path) -> set[str]:
    """The anchors that forges make of a page's headings."""
    titles = re.findall(r"^#+ +(.+)$", prose(page.read_text()), re.MULTILINE)
    plain = (re.sub(r"\]\([^)]*\)", "", title).lower() for title in titles)
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in plain}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{name_of(page)} links to {link}, which is not there"
        assert target.is_relative_to(REPOSITORY), f"{name_of(page)} links to {link}, outside of the repository"
        if anchor:
            assert anchor in anchors(target), (
                f"{name_of(page)} links to {link}, and {name_of(target)} has no such heading"
            )


def test_every_page_of_docs_is_named_in_the_readme() -> None:
    named = {(REPOSITORY / link.partition("#")[0]).resolve() for link in links(REPOSITORY / "README.md")}
    assert set(DOCS.glob("*.md")) <= named


def test_the_readme_is_short() -> None:
    assert len((REPOSITORY / "README.md").read_text().splitlines()) <= README_LINES


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=name_of)
def test_a_page_can_be_read_in_one_sitting(page: Path) -> None:
    assert len(page.read_text().splitlines()) <= PAGE_LINES


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_lines_end_in_time(page: Path) -> None:
    # A row of a table cannot be broken.
    long = [
        line for line in page.read_text().splitlines() if len(line) > LINE and not line.lstrip("> ").startswith("|")
    ]
    assert not long


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=name_of)
def test_a_table_of_settings_says_what_the_settings_say(page: Path) -> None:
    text = page.read_text()
    assert text == options.page_with_tables(text), "write it anew: PYTHONPATH=tests .venv/bin/python -m helpers.options"
    assert text.count("<!-- options") == text.count("<!-- end of options -->") == len(options._TABLE.findall(text))


def test_every_setting_is_in_one_table() -> None:
    listed = [name for page in DOCS.glob("*.md") for name in options.names_in(page.read_text())]
    assert not {name for name in listed if listed.count(name) > 1}
    assert options.settings().keys() <= set(listed), "add it to a table in docs/"


def test_settings_under_one_comment_share_a_row(tmp_path: Path) -> None:
    file = tmp_path / "some.yml"
    file.write_text(
        "# Of the file.\n\n# Where it\n# listens.\nport: 80\naddress: 0.0.0.0\n"
        "# By itself.\nname: ''\nlate: 1\n\nbare: []\n"
    )
    found = {setting.name: setting for setting in options.settings_of(file)}
    assert {name: setting.comment for name, setting in found.items()} == {
        "port": "Where it listens.",
        "address": "Where it listens.",
        "name": "By itself.",
        "late": "By itself.",
        "bare": "",
    }
    assert found["port"].block == found["address"].block != found["name"].block
    assert (found["port"].default, found["name"].default, found["bare"].default) == ("`80`", '`""`', "`[]`")


def test_a_table_refuses_a_name_that_nobody_sets() -> None:
    with pytest.raises(LookupError, match="no_such_setting"):
        options.page_with_tables("<!-- options: no_such_setting -->\n<!-- end of options -->\n")


def test_the_newest_release_in_the_change_log_is_the_version_of_the_project() -> None:
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    headings = re.findall(
        r"^## \[([^\]]+)\](?: - (\d{4}-\d\d-\d\d))?$", (REPOSITORY / "CHANGELOG.md").read_text(), re.MULTILINE
    )
    assert headings[0] == ("Unreleased", "")
    assert headings[1][0] == version
    assert headings[1][1], "a release has a date"
