"""Builds what a release of k3s has, of the stand-in: the binary, the archive of its images, and their checksums.

It takes minutes, so it is done once: what is built lies in the cache, under its version and a hash of
all that it is made of.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from courseload.content_hash import content_hash
from helpers import go
from lab.paths import CACHE, LAB

SOURCE = LAB / "k3s"
NEWEST = re.findall(r"k8s\.io/kubernetes (v1[\d.]+)", (SOURCE / "go.mod").read_text())[0]
# An upgrade begins somewhere: earlier releases of Kubernetes are built from the same source and from these modules.
MODULES = {NEWEST: SOURCE / "go.mod"} | {path.stem: path for path in (LAB / "releases").glob("*.mod")}
EARLIER = "v1.34.4+k3s1"
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]

# The programs of the packaged images. Go checks each module against its public checksum database.
PACKAGED = {
    "coredns": ("github.com/coredns/coredns", "v1.14.7"),
    "metrics-server": ("sigs.k8s.io/metrics-server/cmd/metrics-server", "v0.9.0"),
}
PAUSE = "docker.io/rancher/mirrored-pause:3.6"
PROBE = "localhost/courseload-lab/probe:1"
PROGRESS_S = 15


@dataclass(frozen=True)
class Release:
    """The files of a release, and the image of the tests' own pods."""

    directory: Path
    version: str  # v1.35.4+k3s1

    @property
    def binary(self) -> Path:
        return self.directory / ("k3s" if ARCHITECTURE == "amd64" else f"k3s-{ARCHITECTURE}")

    @property
    def images(self) -> Path:
        return self.directory / f"k3s-airgap-images-{ARCHITECTURE}.tar.zst"

    @property
    def checksums(self) -> Path:
        return self.directory / f"sha256sum-{ARCHITECTURE}.txt"

    @property
    def probe(self) -> Path:
        return self.directory / "probe.tar.zst"


def current() -> Release:
    """The newest release, where group_vars/lab.yml has the lab's playbooks look for it."""
    release = build()
    link = CACHE / "release"
    link.unlink(missing_ok=True)
    link.symlink_to(release.directory)
    return release


def build(version: str = NEWEST) -> Release:
    """A release, such as v1.34.4+k3s1, built on first use; raises RuntimeError, and ValueError for an unknown one."""
    kubernetes = version.partition("+")[0]
    if kubernetes not in MODULES:
        raise ValueError(f"there is no {version} to build, only {', '.join(sorted(MODULES))}")
    version = f"{kubernetes}+k3s1"
    modules = MODULES[kubernetes]
    made_of = content_hash([str(path) for path in (go.GO, SOURCE, modules, modules.with_suffix(".sum"))], PACKAGED)
    release = Release(CACHE / "releases" / f"{version}-{made_of}", version)
    if release.checksums.exists():
        return release
    print(f"building k3s {version} (once; the first of all takes about 9 minutes on 2 cores)", flush=True)
    work = release.directory.with_name(f"{release.directory.name}.unfinished")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    compile_all(work, version)
    pack(Release(work, version))
    shutil.rmtree(release.directory, ignore_errors=True)
    work.rename(release.directory)
    return release


def compile_all(work: Path, version: str) -> None:
    major, minor = re.findall(r"\d+", version)[:2]
    modules = f"-modfile={MODULES[version.partition('+')[0]]}"
    known = "k8s.io/component-base/version"
    values = {
        f"{known}.gitVersion": version,
        f"{known}.gitMajor": major,
        f"{known}.gitMinor": minor,
        "main.coreDNSVersion": PACKAGED["coredns"][1].removeprefix("v"),
        "main.metricsServerVersion": PACKAGED["metrics-server"][1],
    }
    named = " ".join(f"-X {name}={value}" for name, value in values.items())
    program = str(Release(work, version).binary)
    flags = f"-ldflags=-s -w {named}"
    run_go(work, "build", modules, flags, "-o", program, ".", about=f"Kubernetes {version} and etcd")
    run_go(work, "build", modules, "-ldflags=-s -w", "-o", f"{work}/", "./cmd/...", about="pause, probe and airgap")
    for name, (module, at) in PACKAGED.items():
        run_go(work, "install", "-ldflags=-s -w", f"{module}@{at}", about=f"{name} {at}")


def run_go(work: Path, command: str, *arguments: str, about: str) -> None:
    """Runs the Go compiler, and says now and then that it does."""
    environment = {**os.environ, **go.ENVIRONMENT, "GOBIN": str(work)}
    started = time.monotonic()
    log = work / "build.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [go.toolchain(), command, "-trimpath", *arguments],
            cwd=SOURCE,
            env=environment,
            stdout=output,
            stderr=output,
        )
        while True:
            try:
                code = process.wait(PROGRESS_S)
                break
            except subprocess.TimeoutExpired:
                print(f"  compiling {about} ({time.monotonic() - started:.0f} s)", flush=True)
    if code:
        raise RuntimeError(f"{about} could not be compiled:\n{log.read_text()[-3000:]}")
    log.unlink()
    print(f"  compiled {about} in {time.monotonic() - started:.0f} s", flush=True)


def pack(release: Release) -> None:
    work = release.directory
    images = {PAUSE: "pause"} | {f"docker.io/rancher/{name}": program for name, program in packaged_images().items()}
    airgap(work, release.images, images)
    airgap(work, release.probe, {PROBE: "probe"})
    for file in ("airgap", "pause", "probe", *PACKAGED):
        (work / file).unlink()
    files = (release.binary, release.images)
    sums = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
    release.checksums.write_text("".join(sums))


def packaged_images() -> dict[str, str]:
    """Programs by the names that their images have in k3s."""
    return {
        f"mirrored-coredns-coredns:{PACKAGED['coredns'][1].removeprefix('v')}": "coredns",
        f"mirrored-metrics-server:{PACKAGED['metrics-server'][1]}": "metrics-server",
    }


def airgap(work: Path, archive: Path, images: dict[str, str]) -> None:
    named = [f"{image}={work / program}" for image, program in images.items()]
    subprocess.run([work / "airgap", archive, *named], check=True)
