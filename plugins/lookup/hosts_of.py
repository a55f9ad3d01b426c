"""The lookup `hosts_of`: the hosts that a play cannot do without.

    - name: Run a load test
      hosts: "{{ lookup('hosts_of', 'ops', first=true) }}"

Ansible passes over a play without hosts and calls that a success. With this the run fails, with a sentence, where the
inventory has no such group, where the group is empty, or where --limit leaves none of its hosts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible import context
from ansible.errors import AnsibleError
from ansible.inventory.manager import InventoryManager, split_host_pattern
from ansible.plugins.lookup import LookupBase

Groups = Mapping[str, Sequence[str]]


class LookupModule(LookupBase):
    def run(self, terms: Sequence[str], variables: Mapping[str, Any] | None = None, **options: Any) -> list[list[str]]:
        """A list of names for each group named, or for localhost.

        Options: `first` takes only the first host of each; `needs` names a further group that must not be empty.
        """
        known = variables or {}
        groups: Groups = known["groups"]
        if context.CLIARGS.get("syntax"):
            # Nothing is to be done, and the inventory may be another than the playbook is for.
            return [list(groups.get(group, [])) for group in terms]
        sources = ", ".join(known.get("ansible_inventory_sources") or ["the inventory"])
        for group in [*terms, *([options["needs"]] if "needs" in options else [])]:
            if group != "localhost" and not groups.get(group):
                raise AnsibleError(
                    f"Nothing was done, for {sources} has no hosts in the group {group}: see inventory/local.yml and"
                    " inventory/cluster.example.yml for what an inventory has, and name yours with -i."
                )
        found = [["localhost"] if group == "localhost" else list(groups[group]) for group in terms]
        if options.get("first"):
            found = [hosts[:1] for hosts in found]
        for hosts in found:
            self._check_limit(known.get("ansible_limit") or "", groups, hosts)
        return found

    def _check_limit(self, limit: str, groups: Groups, hosts: Sequence[str]) -> None:
        # What is in a file is Ansible's to read.
        if not limit or "@" in limit:
            return
        manager = InventoryManager(self._loader, parse=False)
        for group, members in groups.items():
            manager.add_group(group)
            for host in members:
                manager.add_host(host, group=group)
        if not any(host.name in hosts for host in manager.get_hosts(pattern=split_host_pattern(limit))):
            raise AnsibleError(
                f"Nothing was done, for --limit {limit} leaves out {', '.join(hosts)}: run it without --limit."
            )
