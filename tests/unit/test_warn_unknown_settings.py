"""A name that looks like a setting, and is none, is named; other variables are let be."""

from __future__ import annotations

from helpers.machine import REPOSITORY
from helpers.plugins import load

plugin = load("action", "warn_unknown_settings")
warnings, known = plugin.warnings, plugin.known


def test_typing_mistakes_are_named_with_what_was_meant() -> None:
    settings, _ = known(REPOSITORY)
    said = warnings(["ingres_port", "route_cpus", "k3s_verison", "locust_report_dir"], settings)
    assert said == [
        "ingres_port is set, and nothing here reads it. Is ingress_port meant?",
        "k3s_verison is set, and nothing here reads it. Is k3s_version meant?",
        "locust_report_dir is set, and nothing here reads it. Is locust_reports_dir meant?",
        "route_cpus is set, and nothing here reads it. Is route_cpu meant?",
    ]


def test_settings_and_what_is_not_like_one_are_let_be() -> None:
    settings, others = known(REPOSITORY)
    assert {"ingress_port", "mesh", "users", "host_memory_mb", "artifact_cache"} <= settings
    assert {"workloads", "credential_files", "published_pins"} <= others
    assert warnings([*settings, "datacenter", "ansible_user", "__mesh_", "backup_target"], settings) == []
