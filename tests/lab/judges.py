"""The judges of manifests: kube-score, and kubeconform with strict schemas of Kubernetes and of the Gateway API.

Both are built from Go modules, once, and lie in the cache by their versions. The schemas are made anew each time, from
what Kubernetes and the Gateway API publish. Go checks each module against its public checksum database.
"""

from __future__ import annotations

import fnmatch
import json
import shutil
import subprocess
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from helpers import go
from lab import release
from lab.paths import CACHE, REPOSITORY

PROGRAMS = {
    "kubeconform": ("github.com/yannh/kubeconform/cmd/kubeconform", "v0.8.0"),
    "kube-score": ("github.com/zegl/kube-score/cmd/kube-score", "v1.20.0"),
}

# Checks that kube-score makes when asked. Of its others, all are about limits of CPU, of which there are none.
OPTIONAL = ("container-memory-requests-equal-limits", "container-ports-check", "container-seccomp-profile")
WARNING = 5  # the grade; from 7 on kube-score says OK

# Where kubeconform finds the schema of a kind; for the core group, the group is the version.
LOCATION = "{{.Group}}/{{.ResourceKind}}_{{.ResourceAPIVersion}}.json"
METADATA = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
DRAFT = "http://json-schema.org/draft-07/schema#"

# What the published schemas call a string and the API takes as a number too.
ALSO_NUMBERS = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"type": ["string", "number"]},
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"type": ["string", "integer"]},
}

Schema = dict[str, Any]


@dataclass(frozen=True, order=True)
class Finding:
    """What kube-score has against an object."""

    check: str  # container-resources
    object: str  # Deployment/courseload/relay
    says: str  # CPU limit is not set
    container: str  # relay; empty where it is about the whole object


@dataclass(frozen=True)
class Conformity:
    judged: int  # objects
    wrong: list[str]  # what is wrong with those that do not conform


@dataclass(frozen=True)
class Scores:
    judged: set[str]  # the objects
    findings: list[Finding]


def build() -> dict[str, Path]:
    """The programs by name, built on first use (about a minute); raises RuntimeError."""
    return {name: program(name) for name in PROGRAMS}


def program(name: str) -> Path:
    package, version = PROGRAMS[name]
    home = CACHE / "judges" / f"{name}-{version}"
    if not home.exists():
        work = home.with_suffix(".unfinished")
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        print(f"building {name} {version} (once, up to a minute)", flush=True)
        release.run_go(work, "install", "-ldflags=-s -w", f"{package}@{version}", about=f"{name} {version}")
        work.rename(home)
    return home / name


def conform(manifest: str, schemas: Path) -> Conformity:
    """Has kubeconform judge every object of a manifest."""
    options = ["-strict", "-verbose", "-output=json", f"-schema-location={schemas}/{LOCATION}", "-"]
    judged = judge("kubeconform", options, manifest)["resources"]
    wrong = [resource for resource in judged if resource["status"] != "statusValid"]
    return Conformity(len(judged), [f"{resource['kind']} {resource['name']}: {resource['msg']}" for resource in wrong])


def score(manifest: str) -> Scores:
    """Has kube-score judge every object of a manifest whose kind it knows."""
    minor = release.NEWEST.rpartition(".")[0]
    # Waivers are in one file, with reasons, and not in annotations.
    options = ["score", "--disable-ignore-checks-annotations", f"--kubernetes-version={minor}", "--output-format=json"]
    options += [f"--enable-optional-test={check}" for check in OPTIONAL]
    judged, findings = set(), set()
    for scored in judge("kube-score", [*options, "-"], manifest):
        name = reference(scored["type_meta"]["kind"], scored["object_meta"])
        judged.add(name)
        for check in scored["checks"]:
            if check["grade"] <= WARNING and not check["skipped"]:
                for comment in check["comments"] or [{"summary": check["check"]["comment"], "path": ""}]:
                    findings.add(Finding(check["check"]["id"], name, comment["summary"], comment["path"]))
    return Scores(judged, sorted(findings))


def judge(name: str, options: list[str], manifest: str) -> Any:
    """What a judge prints, as JSON. Both end with 1 when they find something, and say no JSON when they fail."""
    command = [str(program(name)), *options]
    done = subprocess.run(command, input=manifest, capture_output=True, text=True, check=False)
    try:
        return json.loads(done.stdout)
    except ValueError as error:
        raise RuntimeError(f"{name} could not judge: {done.stdout}{done.stderr}") from error


def reference(kind: str, metadata: Mapping[str, Any]) -> str:
    return "/".join([kind, *filter(None, [metadata.get("namespace"), metadata["name"]])])


def write_schemas(directory: Path) -> None:
    """Writes a schema for every kind of the Kubernetes and of the Gateway API that the playbooks install."""
    definitions = kubernetes_definitions()
    (directory / "definitions.json").write_text(json.dumps({"$schema": DRAFT, "definitions": definitions}))
    for name, definition in definitions.items():
        for kind in definition.get("x-kubernetes-group-version-kind", []):
            write_schema(directory, kind["group"], kind["version"], kind["kind"], refer(name))
    for definition in gateway_definitions():
        spec = definition["spec"]
        for version in spec["versions"]:
            schema = closed(version["schema"]["openAPIV3Schema"])
            # The API server knows what an object's metadata may be, and the definitions leave it out.
            schema["properties"]["metadata"] = refer(METADATA)
            write_schema(directory, spec["group"], version["name"], spec["names"]["kind"], schema)


def write_schema(directory: Path, group: str, version: str, kind: str, schema: Schema) -> None:
    file = directory / (group or version) / f"{kind.lower()}_{version}.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({"$schema": DRAFT} | schema))


def refer(name: str) -> Schema:
    return {"$ref": f"../definitions.json#/definitions/{name}"}


def kubernetes_definitions() -> dict[str, Schema]:
    (swagger,) = texts("k8s.io/kubernetes", release.NEWEST, "api/openapi-spec/swagger.json")
    definitions = {name: closed(definition) for name, definition in json.loads(swagger)["definitions"].items()}
    return definitions | ALSO_NUMBERS


def gateway_definitions() -> list[dict[str, Any]]:
    version = read("group_vars/all/artifacts.yml")["artifacts"]["gateway-api"]["version"]
    files = texts("sigs.k8s.io/gateway-api", version, "config/crd/standard/*.yaml")
    documents = [document for text in files for document in yaml.safe_load_all(text)]
    return [document for document in documents if document["kind"] == "CustomResourceDefinition"]


def closed(schema: Schema) -> Schema:
    """The same schema, in which an object that lists its fields has no others.

    The API server drops, or with server-side apply refuses, what is not listed; schemas as published take everything.
    """
    found = dict(schema)
    if "properties" in found:
        found["properties"] = {name: closed(field) for name, field in found["properties"].items()}
        if not found.get("x-kubernetes-preserve-unknown-fields"):
            found.setdefault("additionalProperties", False)
    for key in ("items", "additionalProperties"):
        if isinstance(found.get(key), dict):
            found[key] = closed(found[key])
    return found


def texts(module: str, version: str, pattern: str) -> list[str]:
    """The files of a Go module whose paths match the pattern; the module is downloaded if need be."""
    command = [str(go.toolchain()), "mod", "download", "-json", f"{module}@{version}"]
    done = subprocess.run(command, cwd=CACHE, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"Go cannot download {module} {version}: {done.stdout}{done.stderr}")
    with zipfile.ZipFile(json.loads(done.stdout)["Zip"]) as archive:
        names = fnmatch.filter(sorted(archive.namelist()), f"{module}@{version}/{pattern}")
        return [archive.read(name).decode() for name in names]


def read(file: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((REPOSITORY / file).read_text())
    return found
