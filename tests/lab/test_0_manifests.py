"""Everything that is rendered is judged by programs that are not ours: kubeconform and kube-score."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers.manifests import IMAGE_SOURCES, Rendered, render
from lab import judges
from lab.judges import Finding
from lab.paths import LAB

JUDGED_BY_KUBE_SCORE = (
    "Deployment",
    "HorizontalPodAutoscaler",
    "NetworkPolicy",
    "PodDisruptionBudget",
    "Service",
    "StatefulSet",
)


@dataclass(frozen=True)
class Waiver:
    check: str
    says: str
    objects: tuple[str, ...]  # patterns
    reason: str

    def covering(self, finding: Finding) -> set[str]:
        """Its patterns that cover the finding."""
        if (finding.check, finding.says) != (self.check, self.says):
            return set()
        return {pattern for pattern in self.objects if fnmatchcase(finding.object, pattern)}


@pytest.fixture(scope="session")
def objects(renderings: Callable[[str], Rendered]) -> list[dict[str, Any]]:
    """Good objects, to spoil."""
    return copy.deepcopy(renderings("packages").objects)


@pytest.fixture(scope="session")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("schemas")
    judges.write_schemas(directory)
    return directory


@pytest.fixture(scope="session")
def waivers() -> list[Waiver]:
    entries = yaml.safe_load((LAB / "waivers.yml").read_text())
    return [Waiver(**entry | {"objects": tuple(entry["objects"])}) for entry in entries]


def unwaived(findings: list[Finding], waivers: list[Waiver]) -> list[Finding]:
    return [finding for finding in findings if not any(waiver.covering(finding) for waiver in waivers)]


def one(objects: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """The first object of a kind, as a copy that can be spoilt."""
    return copy.deepcopy(next(found for found in objects if found["kind"] == kind))


def test_every_object_of_the_cluster_conforms_to_its_schema(rendered: Rendered, schemas: Path) -> None:
    judged = judges.conform(rendered.cluster, schemas)
    assert judged.wrong == []
    assert judged.judged == len(rendered.objects)


def test_what_a_mesh_adds_conforms_to_its_schema(tmp_path: Path, schemas: Path) -> None:
    meshed = render(tmp_path, "packages", mesh="linkerd").objects
    # The kinds of Linkerd come with its charts, which are in no package registry.
    known = [found for found in meshed if not found["apiVersion"].startswith("policy.linkerd.io/")]
    judged = judges.conform(yaml.safe_dump_all(known), schemas)
    assert judged.wrong == []
    assert judged.judged == len(known) < len(meshed)
    spoilt = one(meshed, "HTTPRoute")
    spoilt["spec"]["rules"][0]["backendRefs"][0]["wheight"] = 1
    (wrong,) = judges.conform(yaml.safe_dump(spoilt), schemas).wrong
    assert "wheight" in wrong


def test_every_manifest_for_podman_conforms_to_its_schema(rendered: Rendered, schemas: Path) -> None:
    for name, manifest in rendered.pods.items():
        judged = judges.conform(manifest, schemas)
        assert judged.wrong == [], name
        assert judged.judged == len(list(yaml.safe_load_all(manifest))), name


@pytest.mark.parametrize(
    ("kind", "where", "misspelt"),
    [
        ("Deployment", ["spec", "template", "spec", "containers", 0, "securityContext"], "readOnlyRootFileSystem"),
        ("HorizontalPodAutoscaler", ["spec", "metrics", 0, "containerResource", "target"], "averageUtilisation"),
        ("NetworkPolicy", ["spec"], "egres"),
        ("Service", ["metadata"], "label"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_misspelt_field_is_found(
    objects: list[dict[str, Any]], schemas: Path, kind: str, where: list[str | int], misspelt: str
) -> None:
    spoilt = one(objects, kind)
    place: Any = spoilt
    for step in where:
        place = place[step]
    place[misspelt] = "anything"
    (wrong,) = judges.conform(yaml.safe_dump(spoilt), schemas).wrong
    assert misspelt in wrong


def test_a_value_of_the_wrong_type_is_found(objects: list[dict[str, Any]], schemas: Path) -> None:
    spoilt = one(objects, "Service")
    spoilt["spec"]["ports"][0]["port"] = "8080"
    (wrong,) = judges.conform(yaml.safe_dump(spoilt), schemas).wrong
    assert "/spec/ports/0/port" in wrong


def test_a_kind_that_the_cluster_will_not_know_is_found(schemas: Path) -> None:
    manifest = "{apiVersion: policy/v1beta1, kind: PodDisruptionBudget, metadata: {name: relay}}"
    (wrong,) = judges.conform(manifest, schemas).wrong
    assert "could not find schema" in wrong


def test_kube_score_finds_nothing_that_is_not_waived(rendered: Rendered, waivers: list[Waiver]) -> None:
    assert unwaived(judges.score(rendered.cluster).findings, waivers) == []


def test_kube_score_judges_every_object_that_it_can(rendered: Rendered) -> None:
    given = {
        judges.reference(found["kind"], found["metadata"])
        for found in rendered.objects
        if found["kind"] in JUDGED_BY_KUBE_SCORE
    }
    assert given
    assert given - judges.score(rendered.cluster).judged == set()


def test_what_is_waived_hides_nothing_else(objects: list[dict[str, Any]], waivers: list[Waiver]) -> None:
    spoilt = one(objects, "Deployment")
    # The same check as for the limit of CPU, whose absence is waived.
    del spoilt["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"]
    assert "Memory limit is not set" in [
        finding.says for finding in unwaived(judges.score(yaml.safe_dump(spoilt)).findings, waivers)
    ]


def test_every_waiver_has_a_reason(waivers: list[Waiver]) -> None:
    assert [waiver.check for waiver in waivers if len(waiver.reason.split()) < 10] == []


def test_every_waiver_is_needed(renderings: Callable[[str], Rendered], waivers: list[Waiver]) -> None:
    findings = [finding for source in IMAGE_SOURCES for finding in judges.score(renderings(source).cluster).findings]
    for waiver in waivers:
        needed = {pattern for finding in findings for pattern in waiver.covering(finding)}
        assert set(waiver.objects) - needed == set(), f"{waiver.check}: nothing is found there any more"
