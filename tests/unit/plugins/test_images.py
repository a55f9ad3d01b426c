"""Images: their names, where they come from, how they are built, and their archives."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from courseload.image_archives import archive, archives_refusal, archives_replaced, files_in, without_archive
from courseload.image_builds import build_jobs
from courseload.image_source import choice
from courseload.images import built_tags, references, upstream_tags, used_by

IMAGES: dict[str, dict[str, Any]] = {
    "base": {"debian": {"suite": "trixie"}},
    "services": {"from": "base", "context": ["services/course"]},
    "redis": {"from": "base", "registry": "redis"},
}
UPSTREAM = {"redis": {"name": "docker.io/library/redis", "tag": "8.0"}}


def written(paths: list[str], *extra: object) -> str:
    """In place of a hash, what would be hashed."""
    return " ".join([*paths, *map(str, extra)])


def test_a_tag_counts_files_context_description_and_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("courseload.images.content_hash", written)
    tags = built_tags(IMAGES, "/root", "/files", 10001)
    assert tags["base"] == '/files/base {"debian": {"suite": "trixie"}} 10001'
    assert tags["services"] == (
        f'/files/services /root/services/course {{"from": "base", "context": ["services/course"]}} {tags["base"]}'
    )


def test_an_upstream_image_has_the_beginning_of_its_digest_or_its_own_tag() -> None:
    assert upstream_tags(UPSTREAM, {}) == {"redis": "8.0"}
    assert upstream_tags(UPSTREAM, {"redis": "sha256:" + "0123456789abcdef" * 4}) == {"redis": "0123456789ab"}


def test_what_is_pulled_has_the_upstream_tag_and_the_rest_what_it_was_built_with() -> None:
    built = {name: f"tag-of-{name}" for name in IMAGES}
    assert references(IMAGES, built, {"redis": "8.0"}, ["redis"]) == {
        "base": "localhost/courseload/base:tag-of-base",
        "services": "localhost/courseload/services:tag-of-services",
        "redis": "localhost/courseload/redis:8.0",
    }
    assert references(IMAGES, built, {}, [])["redis"] == "localhost/courseload/redis:tag-of-redis"


def test_the_images_of_workloads_are_theirs_and_those_of_what_runs_beside_them() -> None:
    workloads: dict[str, dict[str, Any]] = {
        "relay": {"image": "services", "sidecars": {"exporter": {"image": "exporters"}}},
        "direct": {"image": "services"},
    }
    assert used_by(workloads) == ["services", "exporters"]


def chosen(wanted: str = "auto", **known: Any) -> dict[str, Any]:
    unknown: dict[str, Any] = {"bundle": "", "recorded": "", "answers": False, "refused": {}}
    return choice(wanted, **unknown | known)


@pytest.mark.parametrize(
    ("known", "source", "reason"),
    [
        ({"wanted": "registry"}, "registry", "image_source asks for it"),
        ({"recorded": "registry"}, "registry", "the data here was made with it"),
        ({}, "packages", "no container registry answered"),
        ({"answers": True, "refused": {"redis:8.0": "404"}}, "packages", "a registry answers, but there are digests"),
        ({"answers": True}, "registry", "a registry answers"),
    ],
)
def test_the_source_is_what_was_asked_for_or_used_before_or_what_can_be_had(
    known: dict[str, Any], source: str, reason: str
) -> None:
    found = chosen(**known)
    assert (found["source"], found["refusals"]) == (source, [])
    assert found["reason"].startswith(reason)


def test_a_bundle_decides_and_refuses_what_it_was_not_made_with(tmp_path: Path) -> None:
    (tmp_path / "bundle.yml").write_text("# Written\nimage_source: packages\narchitecture: amd64\n")
    assert chosen(bundle=str(tmp_path))["source"] == "packages"
    assert f"the bundle {tmp_path} was made with packages" in chosen("registry", bundle=str(tmp_path))["refusals"][0]
    assert "use a bundle made with registry" in chosen(recorded="registry", bundle=str(tmp_path))["refusals"][0]


def test_a_source_is_refused_that_is_unknown_or_other_than_the_datas_or_gives_no_digest() -> None:
    assert chosen("none")["refusals"] == ["image_source is 'none': use auto, packages or registry."]
    assert "registry cannot read it" in chosen("registry", recorded="packages")["refusals"][0]
    for wanted, recorded in (("registry", ""), ("auto", "registry")):
        (refusal,) = chosen(wanted, recorded=recorded, refused={"redis:8.0": "404 Not Found"})["refusals"]
        assert "does not give (redis:8.0: 404 Not Found)" in refusal


FULL = {
    "base": "localhost/courseload/base:0123456789ab",
    "services": "localhost/courseload/services:89ab01234567",
    "redis": "localhost/courseload/redis:8.0",
}


def test_an_archive_is_called_after_the_image_and_its_tag() -> None:
    assert [archive(name) for name in FULL.values()] == [
        "base-0123456789ab.tar.zst",
        "services-89ab01234567.tar.zst",
        "redis-8.0.tar.zst",
    ]


def test_only_archives_of_ours_are_replaced() -> None:
    wanted = [archive(FULL["services"])]
    ours = ["services-000000000000.tar.zst", "redis-7.4.tar.zst", ".services-89ab01234567.tar.zst.new"]
    theirs = ["notes.txt", "other-000000000000.tar.zst", "services-mine.tar.zst", "services-000000000000.tar"]
    assert archives_replaced([*wanted, *theirs, *ours], wanted, IMAGES) == ours


def test_what_has_no_archive_is_made_after_what_it_starts_from_unless_it_is_pulled(tmp_path: Path) -> None:
    places = [str(tmp_path / name) for name in ("here", "elsewhere", "nowhere")]
    (tmp_path / "here").mkdir()
    (tmp_path / "elsewhere").mkdir()
    assert without_archive(["services", "redis"], IMAGES, FULL, ["redis"], places) == ["base", "services", "redis"]
    (tmp_path / "here" / archive(FULL["services"])).touch()
    assert without_archive(["services", "redis"], IMAGES, FULL, ["redis"], places) == ["redis"]
    (tmp_path / "elsewhere" / archive(FULL["redis"])).touch()
    assert without_archive(["services", "redis"], IMAGES, FULL, [], places) == []
    assert files_in(*places) == sorted([archive(FULL["services"]), archive(FULL["redis"])])


@pytest.mark.parametrize(
    ("missing", "offline", "advice"),
    [
        (["redis-8.0.tar.zst"], False, "run it without --limit"),
        (["redis-8.0.tar.zst", "linkerd-proxy-1.tar.zst"], True, "from another state of this repository"),
        (["linkerd-proxy-1.tar.zst"], True, "the bundle was made without Linkerd"),
    ],
)
def test_archives_that_are_missing_are_named_with_what_to_do(missing: list[str], offline: bool, advice: str) -> None:
    said = archives_refusal(missing, "/cache", offline)
    assert said.startswith(f"/cache has no {', '.join(missing)} in images: ")
    assert advice in said
    assert archives_refusal([], "/cache", offline) == ""


# In place of the programs that a build calls: they say with what, and that there is no such image yet.
PROGRAMS = """\
say() { for word; do printf '[%s]' "$word"; done; echo; }
podman() { [ "$1 $2" != "image exists" ] || return ${there:-1}; cat >/dev/null; say podman "$@"; }
mmdebstrap() { say "TMPDIR=$TMPDIR" "$@" >&2; }
"""


def built(name: str, image: dict[str, Any], directory: Path, there: int = 1) -> list[str]:
    """What the command that builds an image calls, a line for each program."""
    jobs = build_jobs([name], {name: image}, FULL, str(directory), 10001)
    assert [job["name"] for job in jobs] == [name]
    command = f"there={there}\n{PROGRAMS}{jobs[0]['command']}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL)
    return [*done.stderr.splitlines(), *done.stdout.splitlines()]


def test_a_debian_image_is_a_file_system_that_podman_imports(tmp_path: Path) -> None:
    debian = {"suite": "trixie", "packages": ["python3", "python3-venv"], "options": ['Acquire::X "false"']}
    unpacked, imported = built("base", {"debian": debian}, tmp_path)
    assert f"[TMPDIR={tmp_path}][--variant=minbase][--include=python3,python3-venv]" in unpacked
    assert '[--aptopt=Acquire::X "false"]' in unpacked
    assert '[--customize-hook=chroot "$1" groupadd --gid 10001 app]' in unpacked
    assert unpacked.endswith("[trixie][-]")
    assert imported.startswith("[podman][import][--change][LABEL=part-of=courseload]")
    assert imported.endswith(f"[-][{FULL['base']}]")


def test_a_containerfile_is_built_in_a_copy_of_the_context_that_is_removed(tmp_path: Path) -> None:
    directory = tmp_path / "a place"
    (directory / "roles").mkdir(parents=True)
    subprocess.run(["tar", "--create", "--gzip", "--file=context.tar.gz", "roles"], cwd=directory, check=True)
    said = built("services", IMAGES["services"], directory)
    assert len(said) == 1
    assert f"[--build-arg][BASE={FULL['base']}]" in said[0]
    recipe = f"{directory}/services/roles/image/files/services/Containerfile"
    assert said[0].endswith(f"[--tag][{FULL['services']}][--file][{recipe}][{directory}/services]")
    assert not (directory / "services").exists()


def test_nothing_is_built_that_another_run_has_built_meanwhile(tmp_path: Path) -> None:
    assert built("services", IMAGES["services"], tmp_path, there=0) == ["it is there: another run has made it"]
