"""What a mesh adds: certificates, policies and routes, judged without Linkerd, which is in no package registry."""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers import pod_security
from helpers.machine import REPOSITORY
from helpers.manifests import INVENTORY, ROUTES, Rendered, render
from helpers.mesh_policy import admits
from helpers.network_policy import Pod, enters, leaves
from helpers.playbook import Play, link_variables, play, write_playbook

PROXY, ADMIN = 4143, 4191
COLLECTOR = "prometheus-agent"
CERTIFY = """\
- name: Make certificates
  hosts: localhost
  gather_facts: false
  connection: local
  roles: [settings]
  tasks:
    - name: Make certificates
      ansible.builtin.include_role: {name: linkerd, tasks_from: certificates, rolespec_validate: false}
    - name: Tell what is trusted
      ansible.builtin.copy:
        content: "{{ linkerd_trusted }}"
        dest: "{{ linkerd_certificates_dir }}/trusted"
        mode: "0644"
      changed_when: false
"""

TASKS_ON_KEYS = yaml.safe_load((REPOSITORY / "roles/linkerd/tasks/keys.yml").read_text())


@pytest.fixture(scope="module")
def meshed(tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    return render(tmp_path_factory.mktemp("meshed"), "packages", mesh="linkerd")


@pytest.fixture(scope="module")
def templates(meshed: Rendered) -> dict[str, Any]:
    """The template of each workload's pods, with the namespace they live in."""
    return {
        found["metadata"]["name"]: found["spec"]["template"] | {"namespace": found["metadata"]["namespace"]}
        for found in meshed.of_kind("Deployment", "StatefulSet")
    }


@pytest.fixture(scope="module")
def edges(meshed: Rendered) -> set[tuple[str, str]]:
    """Who calls whom: the one list that policies of both kinds come from."""
    found = {
        (name, other) for name, workload in meshed.cluster_workloads.items() for other in workload.get("calls", [])
    }
    assert ("relay", "ledger") in found
    return found


@pytest.fixture(scope="module")
def watched(meshed: Rendered) -> dict[str, int | None]:
    """Where each workload tells its figures to what collects them."""
    return {name: workload.get("metrics") for name, workload in meshed.workloads.items()}


def certify(directory: Path, **variables: Any) -> Play:
    playbook = directory / "certify.yml"
    playbook.write_text(CERTIFY)
    link_variables(directory)
    extra = {"repository_root": str(REPOSITORY), "linkerd_certificates_dir": str(directory / "certificates")}
    return play(playbook, **(extra | variables))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("mesh")
    made = certify(directory)
    assert made.ok, made.output
    return directory / "certificates"


def openssl(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["openssl", *map(str, arguments)], check=False, capture_output=True, text=True)


def test_the_issuer_is_the_anchors_and_not_the_next_ones(certificates: Path) -> None:
    issuer = certificates / "issuer.crt"
    assert openssl("verify", "-x509_strict", "-CAfile", certificates / "anchor.crt", issuer).returncode == 0
    assert openssl("verify", "-x509_strict", "-CAfile", certificates / "next.crt", issuer).returncode != 0
    # What the proxies get: any of the anchors will do.
    assert openssl("verify", "-x509_strict", "-CAfile", certificates / "trusted", issuer).returncode == 0
    assert (certificates / "trusted").read_text().count("BEGIN CERTIFICATE") == 2


@pytest.mark.parametrize("name", ["anchor", "next", "issuer"])
def test_an_authority_is_as_linkerd_asks(certificates: Path, name: str) -> None:
    # Linkerd takes ECDSA P-256 and SHA-256 alone (pkg/issuercerts of its source).
    said = openssl("x509", "-in", certificates / f"{name}.crt", "-noout", "-text").stdout
    assert "ASN1 OID: prime256v1" in said
    assert "Signature Algorithm: ecdsa-with-SHA256" in said
    assert "X509v3 Basic Constraints: critical" in said
    assert "CA:TRUE" in said
    assert "Certificate Sign, CRL Sign" in said
    assert ("pathlen:0" in said) is (name == "issuer")


@pytest.mark.parametrize("name", ["proxy-injector", "sp-validator", "policy-validator"])
def test_a_webhook_answers_to_the_name_that_the_api_server_calls(certificates: Path, name: str) -> None:
    certificate = certificates / f"{name}.crt"
    host = f"linkerd-{name}.linkerd.svc"
    wanted = ("-purpose", "sslserver", "-verify_hostname", host, "-CAfile", certificate, certificate)
    assert openssl("verify", *wanted).returncode == 0
    assert "CA:FALSE" in openssl("x509", "-in", certificate, "-noout", "-text").stdout


def test_every_key_is_its_certificates_and_nobody_elses_to_read(certificates: Path) -> None:
    keys = sorted(certificates.glob("*.key"))
    assert [key.stem for key in keys] == [
        "anchor",
        "issuer",
        "next",
        "policy-validator",
        "proxy-injector",
        "sp-validator",
    ]
    for key in keys:
        # Linkerd's policy controller reads PKCS #8 alone.
        assert key.read_text().startswith("-----BEGIN PRIVATE KEY-----")
        public = openssl("pkey", "-in", key, "-pubout").stdout
        assert public == openssl("x509", "-in", key.with_suffix(".crt"), "-noout", "-pubkey").stdout
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(certificates.stat().st_mode) == 0o700


def test_certificates_are_made_once(certificates: Path) -> None:
    again = certify(certificates.parent)
    assert again.ok, again.output
    assert again.changes == []


def test_an_issuer_that_has_run_out_stops_the_run_with_what_to_do(certificates: Path, tmp_path: Path) -> None:
    shutil.copytree(certificates, tmp_path / "certificates")
    (tmp_path / "certificates/issuer.crt").unlink()
    assert certify(tmp_path, linkerd_issuer_days=0).ok
    stopped = certify(tmp_path, linkerd_issuer_days=0)
    assert not stopped.ok
    assert "rotate_certificates.yml" in " ".join(stopped.reasons)


@pytest.mark.parametrize(("trusted", "ok"), [("anchor", True), ("next", False), (None, True)])
def test_the_keys_of_another_cluster_stop_what_would_hand_them_over(
    certificates: Path, tmp_path: Path, trusted: str | None, ok: bool
) -> None:
    (check,) = (task for task in TASKS_ON_KEYS if "ansible.builtin.assert" in task)
    bundle = (certificates / f"{trusted}.crt").read_text() if trusted else ""
    # A cluster without a mesh has none.
    roots = {"resources": [{"data": {"ca-bundle.crt": bundle}}] if trusted else []}
    role = {"name": "linkerd", "tasks_from": "readable", "rolespec_validate": False, "public": True}
    tasks = [{"ansible.builtin.include_role": role}, check | {"vars": {"__linkerd_roots": roots}}]
    done = play(write_playbook(tmp_path, yaml.safe_dump(tasks)), linkerd_certificates_dir=str(certificates))
    assert done.ok is ok, done.output
    assert [f"whose keys are not in {certificates}" in reason for reason in done.reasons] == ([] if ok else [True])


@pytest.mark.parametrize("name", ["main", "rotate_issuer", "rotate_anchor"])
def test_nothing_is_handed_over_before_the_keys_are_checked(name: str) -> None:
    entries = yaml.safe_load((REPOSITORY / f"roles/linkerd/tasks/{name}.yml").read_text())
    (block, *_) = (entry["block"] for entry in entries if "block" in entry)
    assert block[0]["ansible.builtin.import_tasks"] == "keys.yml"


def admitted(meshed: Rendered, templates: dict[str, Any], port_of: Mapping[str, str | int]) -> set[tuple[str, str]]:
    """Who is let in by the proxy of whom, at a port for each who is called."""
    policies = meshed.of_kind("Server", "MeshTLSAuthentication", "AuthorizationPolicy")
    return {
        (caller, called)
        for caller in templates
        for called, port in port_of.items()
        if admits(
            policies,
            templates[called],
            templates[called]["namespace"],
            port,
            f"{templates[caller]['namespace']}/{caller}",
        )
    }


def test_a_workload_is_called_by_those_that_need_it_and_by_no_other(
    meshed: Rendered, templates: dict[str, Any], edges: set[tuple[str, str]], watched: dict[str, int | None]
) -> None:
    # Who tells figures where it does its work is asked for them there.
    shared = {(COLLECTOR, name) for name, port in watched.items() if port == meshed.workloads[name]["port"]}
    assert admitted(meshed, templates, dict.fromkeys(templates, "main")) == edges | shared
    policies = meshed.of_kind("Server", "MeshTLSAuthentication", "AuthorizationPolicy")
    for called, template in templates.items():
        for port in ("main", "linkerd-admin", watched.get(called) or 22):
            for stranger in (None, "courseload/default", "default/relay", "linkerd/linkerd-identity"):
                assert not admits(policies, template, template["namespace"], port, stranger), (called, port, stranger)


def test_figures_are_told_to_what_collects_them_and_to_no_other(
    meshed: Rendered, templates: dict[str, Any], watched: dict[str, int | None]
) -> None:
    apart = {name: port for name, port in watched.items() if port and port != meshed.workloads[name]["port"]}
    assert apart.keys() >= {"ledger", "redis", "ingress"}
    assert admitted(meshed, templates, apart) == {(COLLECTOR, name) for name in apart}
    # Those of the proxies; its own it reads from nobody.
    of_proxies = admitted(meshed, templates, dict.fromkeys(templates, "linkerd-admin"))
    assert of_proxies == {(COLLECTOR, name) for name in templates if name != COLLECTOR}


def test_the_network_lets_through_what_the_mesh_does(
    meshed: Rendered, templates: dict[str, Any], edges: set[tuple[str, str]], watched: dict[str, int | None]
) -> None:
    policies = meshed.of_kind("NetworkPolicy")
    pods = {name: Pod(template["namespace"], template["metadata"]["labels"]) for name, template in templates.items()}
    at = {(name, other): {PROXY, meshed.workloads[other]["port"]} for name, other in edges}
    at |= {(COLLECTOR, name): {PROXY, ADMIN, port or PROXY} for name, port in watched.items()}
    for port in set().union(*at.values()):
        passing = {
            (name, other)
            for name, pod in pods.items()
            for other, target in pods.items()
            if leaves(policies, pod, target, port) and enters(policies, pod, target, port)
        }
        assert passing == {call for call, ports in at.items() if port in ports}, port


def test_every_proxy_reaches_the_control_plane_and_the_names(meshed: Rendered, templates: dict[str, Any]) -> None:
    policies = meshed.of_kind("NetworkPolicy")
    control = Pod("linkerd", {"linkerd.io/control-plane-component": "identity"})
    names = Pod("kube-system", {"k8s-app": "kube-dns"})
    for name, template in templates.items():
        pod = Pod(template["namespace"], template["metadata"]["labels"])
        assert {port for port in (22, 443, 8080, 8086, 8090) if leaves(policies, pod, control, port)} == {
            8080,
            8086,
            8090,
        }, name
        assert leaves(policies, pod, names, 53, "UDP"), name
        assert not enters(policies, control, pod, PROXY), name


def test_every_pod_gets_a_proxy_that_denies_unless_told(templates: dict[str, Any]) -> None:
    for name, template in templates.items():
        annotations = template["metadata"]["annotations"]
        assert annotations["linkerd.io/inject"] == "enabled", name
        assert annotations["config.linkerd.io/default-inbound-policy"] == "deny", name


def test_a_database_is_opaque_on_both_sides(meshed: Rendered, templates: dict[str, Any]) -> None:
    services = {found["metadata"]["name"]: found["metadata"] for found in meshed.of_kind("Service")}
    servers = {found["metadata"]["name"]: found["spec"]["proxyProtocol"] for found in meshed.of_kind("Server")}
    for name, port in {"mongodb": "27017", "redis": "6379"}.items():
        assert templates[name]["metadata"]["annotations"]["config.linkerd.io/opaque-ports"] == port
        assert services[name]["annotations"]["config.linkerd.io/opaque-ports"] == port
        assert servers[name] == "opaque"
    assert {name: servers[name] for name in ("ledger", "relay", "direct")} == {
        "ledger": "gRPC",
        "relay": "HTTP/1",
        "direct": "HTTP/1",
    }


def test_a_database_behind_a_proxy_is_asked_from_within(templates: dict[str, Any]) -> None:
    # The proxy takes every connection from outside, whether anybody is behind it or not.
    for name, template in templates.items():
        for container in template["spec"]["containers"]:
            for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
                assert "tcpSocket" not in container.get(kind, {}), (name, kind)


def test_the_mesh_splits_what_the_ingress_sends_to_a_service_without_pods(meshed: Rendered) -> None:
    (split,) = (found["spec"] for found in meshed.of_kind("HTTPRoute"))
    (parent,) = split["parentRefs"]
    assert (parent["group"], parent["kind"], parent["name"], parent["port"]) == ("", "Service", "course", 80)
    assert split["rules"] == [
        {
            "backendRefs": [
                {"name": name, "port": meshed.cluster_workloads[name]["port"], "weight": weight}
                for name, weight in ROUTES.items()
            ]
        }
    ]
    service = next(found for found in meshed.of_kind("Service") if found["metadata"]["name"] == "course")
    assert service["metadata"]["namespace"] == "courseload"
    assert "selector" not in service["spec"]
    assert re.findall(r"^    server .*", haproxy(meshed), re.MULTILINE) == [
        "    server course course.courseload.svc.cluster.local:80"
    ]


def haproxy(objects: Rendered) -> str:
    found = next(found for found in objects.of_kind("ConfigMap") if found["metadata"]["name"] == "ingress-config")
    return str(found["data"]["haproxy.cfg"])


def test_a_request_that_found_no_pod_of_its_route_goes_to_the_other(meshed: Rendered, rendered: Rendered) -> None:
    # Only what the proxy could send to nobody: any other answer may be of a note that was stored.
    assert re.findall(r"retry-on (.*)", haproxy(meshed)) == ["conn-failure 504"]
    assert "retry-on" not in haproxy(rendered)


def test_where_a_request_goes_is_not_the_clients_to_say(meshed: Rendered) -> None:
    assert "http-request del-header l5d- -m beg" in haproxy(meshed)


def test_pods_are_restricted_but_for_what_redirects_their_traffic(meshed: Rendered, templates: dict[str, Any]) -> None:
    assert {
        name: found for name, template in templates.items() if (found := pod_security.violations(template["spec"]))
    } == {}
    # Pod Security has no exception for one container: a policy of ours stands in for it, in the same namespaces.
    labels = [found["metadata"]["labels"] for found in meshed.of_kind("Namespace")]
    assert {found["pod-security.kubernetes.io/enforce"] for found in labels} == {"privileged"}
    assert {found["pod-security.kubernetes.io/audit"] for found in labels} == {"restricted"}
    (binding,) = meshed.of_kind("ValidatingAdmissionPolicyBinding")
    (selected,) = binding["spec"]["matchResources"]["namespaceSelector"]["matchExpressions"]
    assert set(selected["values"]) == {found["metadata"]["name"] for found in meshed.of_kind("Namespace")}
    assert binding["spec"]["validationActions"] == ["Deny"]


def test_other_anchors_restart_what_can_be_restarted_without_a_failed_request(
    templates: dict[str, Any], tmp_path: Path, certificates: Path
) -> None:
    other = render(tmp_path, "packages", mesh="linkerd", linkerd_certificates_dir=str(certificates))
    changed = {
        found["metadata"]["name"]
        for found in other.of_kind("Deployment", "StatefulSet")
        if found["spec"]["template"]["metadata"] != templates[found["metadata"]["name"]]["metadata"]
    }
    assert changed == {"ledger", "relay", "direct", "ingress", COLLECTOR}


def test_without_charts_the_run_stops_before_it_changes_anything(tmp_path: Path) -> None:
    inventory = tmp_path / "inventory.yml"
    inventory.write_text(yaml.safe_dump(INVENTORY))
    (tmp_path / "nothing").mkdir()
    playbook = tmp_path / "charts.yml"
    playbook.write_text(
        "- hosts: ops\n  gather_facts: false\n  roles: [settings]\n  tasks:\n"
        "    - ansible.builtin.include_role: {name: artifact}\n"
        "      vars: {artifact_names: '{{ linkerd_artifacts }}'}\n"
    )
    link_variables(tmp_path)
    run = play(
        playbook,
        inventory=str(inventory),
        repository_root=str(REPOSITORY),
        linkerd_dir=str(tmp_path / "nothing"),
        artifact_cache=str(tmp_path / "cache"),
    )
    assert not run.ok
    assert "linkerd-crds-2026.10.1.tgz" in " ".join(run.reasons)
