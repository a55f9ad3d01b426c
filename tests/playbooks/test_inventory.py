"""A run for which the inventory has no hosts is an error: a load test that did not take place has not passed."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader

from helpers.machine import REPOSITORY
from helpers.playbook import play
from helpers.plugins import load

ONLY_HERE = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


@pytest.fixture(scope="module")
def hosts_of() -> Any:
    """The lookup, as a function of its terms, the groups and the limit."""
    module = load("lookup", "hosts_of")

    def look_up(term: str, groups: dict[str, list[str]], limit: str | None = None, **options: Any) -> Any:
        known = {"groups": groups, "ansible_limit": limit, "ansible_inventory_sources": ["hosts.yml"]}
        return module.LookupModule(loader=DataLoader()).run([term], known, **options)[0]

    return look_up


GROUPS = {"all": ["one", "two", "three"], "ops": ["one", "two"], "load": ["three"]}


def test_a_group_has_its_hosts(hosts_of: Any) -> None:
    assert hosts_of("ops", GROUPS) == ["one", "two"]
    assert hosts_of("ops", GROUPS, first=True) == ["one"]
    assert hosts_of("all", GROUPS, needs="ops") == ["one", "two", "three"]
    assert hosts_of("localhost", GROUPS) == ["localhost"]
    assert hosts_of("ops", GROUPS, "two,three") == ["one", "two"]


@pytest.mark.parametrize(
    ("term", "groups", "options"),
    [
        ("ops", {"all": ["one"]}, {}),
        ("ops", {"all": ["one"], "ops": []}, {}),
        ("all", {"all": []}, {}),
        ("all", {"all": ["one"]}, {"needs": "ops"}),
    ],
)
def test_a_group_without_hosts_is_an_error(hosts_of: Any, term: str, groups: Any, options: Any) -> None:
    with pytest.raises(AnsibleError, match=r"Nothing was done, for hosts\.yml has no hosts in the group"):
        hosts_of(term, groups, **options)


@pytest.mark.parametrize(("limit", "options"), [("three", {}), ("all:!ops", {}), ("two", {"first": True})])
def test_a_limit_that_leaves_out_what_is_needed_is_an_error(hosts_of: Any, limit: str, options: Any) -> None:
    with pytest.raises(AnsibleError, match=rf"Nothing was done, for --limit {limit} leaves out one"):
        hosts_of("ops", GROUPS, limit, **options)


def test_a_check_on_this_machine_is_not_left_out_by_a_limit(hosts_of: Any) -> None:
    with pytest.raises(AnsibleError, match="leaves out localhost"):
        hosts_of("localhost", GROUPS, "one")


# An inventory of pods has no cluster, and this playbook has nothing to do there.
@pytest.mark.parametrize("path", sorted((REPOSITORY / "playbooks").glob("*.yml")), ids=lambda path: path.stem)
def test_every_playbook_begins_with_hosts_that_it_must_have(path: Path) -> None:
    if path.stem != "cluster":
        assert "lookup('hosts_of'" in read(path)[0]["hosts"]
    # A group by its bare name would be passed over where there is none.
    assert [hosts for one in read(path) if (hosts := one["hosts"]) in ("all", "localhost") or "{{" not in hosts] == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "Completely failed to parse"),
        ("all:\n\thosts:\n", "Completely failed to parse"),
        ("", "has no hosts in the group"),
        (
            yaml.safe_dump({"all": {"vars": {"platform": "pods"}, "hosts": {"localhost": ONLY_HERE}}}),
            "in the group ops",
        ),
    ],
    ids=["missing", "a tab", "empty", "no group ops"],
)
def test_a_load_test_that_cannot_take_place_has_not_passed(tmp_path: Path, text: str | None, words: str) -> None:
    inventory = tmp_path / "hosts.yml"
    if text is not None:
        inventory.write_text(text)
    run = play("loadtest.yml", "-i", str(inventory))
    assert not run.ok
    assert words in run.output


def test_a_load_test_without_a_host_that_sends_load_has_not_passed(tmp_path: Path) -> None:
    inventory = tmp_path / "hosts.yml"
    group = {"hosts": {"localhost": ONLY_HERE}}
    inventory.write_text(yaml.safe_dump({"all": {"vars": {"platform": "pods"}, "children": {"ops": group}}}))
    run = play("loadtest.yml", "--check", inventory=str(inventory))
    assert not run.ok
    assert "the group load must be" in " ".join(run.reasons), run.output


def test_a_load_test_whose_hosts_are_out_of_reach_has_not_passed(tmp_path: Path) -> None:
    inventory = tmp_path / "hosts.yml"
    unreachable = {"hosts": {"unreachable": {"ansible_host": "127.0.0.1", "ansible_port": 1}}}
    inventory.write_text(
        yaml.safe_dump({"all": {"vars": {"platform": "pods"}, "children": {"ops": unreachable, "load": unreachable}}})
    )
    assert not play("loadtest.yml", inventory=str(inventory)).ok
