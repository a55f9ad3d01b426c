"""The filters, by name; the functions are documented where they are, in plugins/module_utils/courseload.

Those that make manifests are in manifests.py.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

# Ansible hands module_utils to modules only; what runs on the control machine takes it from beside.
sys.path.append(str(Path(__file__).parents[1] / "module_utils"))

from courseload import (
    addresses,
    artifacts,
    baseline,
    cluster,
    control_machine,
    credentials,
    etcd,
    faults,
    firewall,
    image_archives,
    image_builds,
    image_source,
    images,
    k3s,
    k3s_certificates,
    load_test,
    mesh,
    nodes,
    objectives,
    pins,
    preflight,
    secrets,
    settings,
    shapes,
    traffic,
    workloads,
)

FILTERS: Mapping[str, Callable[..., Any]] = {
    # The settings, and the groups of an inventory.
    "settings_checked": settings.checked,
    "settings_refusals": settings.refusals,
    "inventory_refusals": settings.inventory_refusals,
    # Hosts: their addresses, who may reach their ports, and why one cannot carry the system.
    "addresses": addresses.addresses,
    "without_address": addresses.without_address,
    "shared_addresses": addresses.shared_addresses,
    "firewall_ports": firewall.ports_here,
    "system_refusals": preflight.system_refusals,
    "pod_host_refusals": preflight.pod_host_refusals,
    "node_refusals": preflight.node_refusals,
    "member_refusals": preflight.member_refusals,
    "cluster_refusals": preflight.cluster_refusals,
    # Files on the control machine: their sums, and what is not as its list of them says.
    "sums_of_files": artifacts.sums_of_files,
    "sums_differing": artifacts.sums_differing,
    # Downloaded files.
    "artifacts_needed": artifacts.needed,
    "zip_texts": artifacts.zip_texts,
    # What images and files from elsewhere must be.
    "pins_in_file": pins.in_file,
    "pins_in_bundle": pins.in_bundle,
    "bundle_refreshed": pins.refreshed_in_bundle,
    "pins_of_images": pins.of_images,
    "pins_of_files": artifacts.pins_of,
    "pins_by_name": pins.by_name,
    "pins_differing": pins.differing,
    "pins_missing": pins.missing,
    "pins_summary": pins.summary,
    "pinned_in": pins.where,
    # What this machine keeps beside its inventory, and the one before had.
    "control_machine_here": control_machine.here,
    "control_machine_noted": control_machine.noted,
    "control_machine_refusals": control_machine.refusals,
    "control_machine_remarks": control_machine.remarks,
    # Images: their names, where they come from, how they are built, and their archives.
    "built_tags": images.built_tags,
    "upstream_tags": images.upstream_tags,
    "image_references": images.references,
    "images_used_by": images.used_by,
    "image_source_choice": image_source.choice,
    "image_build_jobs": image_builds.build_jobs,
    "image_archive": image_archives.archive,
    "files_in": image_archives.files_in,
    "archives_replaced": image_archives.archives_replaced,
    "archives_refusal": image_archives.archives_refusal,
    "images_without_archive": image_archives.without_archive,
    # Workloads, and their credentials as Secrets.
    "credentials_of": workloads.credentials_of,
    "texts_of": credentials.texts_of,
    "cpu_cores": workloads.cpu_cores,
    "most_pods": workloads.most_pods,
    "unpacked_at": workloads.unpacked_at,
    "port_forwards": workloads.port_forwards,
    "published_ports": workloads.published_ports,
    "secret_manifests": secrets.manifests,
    "secrets_differing": secrets.differing,
    "passwords_in_secrets": secrets.passwords,
    # k3s on a host, and the nodes of the cluster.
    "k3s_membership": k3s.membership,
    "k3s_server_url": k3s.server_url,
    "k3s_host_refusals": k3s.host_refusals,
    "k3s_interface": k3s.interface,
    "k3s_without_unset": k3s.without_unset,
    "k3s_no_proxy": k3s.no_proxy,
    "k3s_files_to_write": k3s.files_to_write,
    "k3s_tokens_to_take": k3s.tokens_to_take,
    "k3s_not_read_yet": k3s.not_read_yet,
    "k3s_explanation": k3s.explanation,
    "k3s_server_to_ask": k3s.server_to_ask,
    "k3s_certificates_state": k3s_certificates.state,
    "k3s_certificates_summary": k3s_certificates.summary,
    "k3s_nodes_in": nodes.nodes_in,
    "k3s_node_state": nodes.node_state,
    "k3s_deployments_of": nodes.deployments_of,
    "k3s_node_of_host": nodes.node_of_host,
    "k3s_claims_on": nodes.claims_on,
    "k3s_upgrade_refusal": nodes.upgrade_refusal,
    "k3s_upgrade_state": nodes.upgrade_state,
    "etcd_refusal": etcd.refusal,
    # Objects of a cluster: what is not ready and why, and the kubeconfig of an account.
    "pods_not_ready": cluster.not_ready,
    "why_not_ready": cluster.why_not_ready,
    "containers_not_ready": cluster.containers_not_ready,
    "why_containers_not_ready": cluster.why_containers_not_ready,
    "deployments_not_available": cluster.deployments_not_available,
    "why_not_scaling": cluster.why_not_scaling,
    "kubeconfig": cluster.kubeconfig,
    # The mesh: its certificates on the control machine, and what its proxies have counted.
    "certificates_missing": mesh.certificates_missing,
    "certificate_files_missing": mesh.certificate_files_missing,
    "trusted_anchors": mesh.trusted_anchors,
    "pods_not_trusting": mesh.not_trusting,
    "mesh_secrets": mesh.mesh_secrets,
    "webhook_values": mesh.webhook_values,
    "traffic_since": traffic.since,
    "traffic_so_far": traffic.so_far,
    "traffic_without_tls": traffic.without_tls,
    "traffic_silent": traffic.silent,
    # The faults of chaos.yml.
    "faults_known": faults.known,
    "faults_located": faults.located,
    "fault_trials": faults.trials,
    "faults_once": faults.once,
    "faults_impossible": faults.impossible,
    "faults_smaller": faults.smaller,
    "fault_refusals": faults.refusals,
    # A load test.
    "load_test_seconds": load_test.seconds,
    "load_test_refusals": load_test.refusals,
    "ab_refusals": load_test.ab_refusals,
    "ab_samples": load_test.ab_samples,
    "capacity_refusals": load_test.capacity_refusals,
    "load_test_objectives": objectives.normal,
    "load_test_shape": shapes.chosen,
    "load_test_baseline": baseline.runs,
    "load_test_baseline_refusals": baseline.refusals,
    "load_test_target": load_test.target,
    "load_test_workers": load_test.workers,
    "load_test_pods": load_test.pods_on,
    "load_test_summary": load_test.sum_up,
}


class FilterModule:
    def filters(self) -> Mapping[str, Callable[..., Any]]:
        return FILTERS
