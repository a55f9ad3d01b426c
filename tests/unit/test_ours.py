"""What on a host is courseload's: marks, labels, and what is refused, made and removed because of them."""

from __future__ import annotations

import json
import re
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from courseload.pod_names import manifest_names, pod_names
from helpers.machine import REPOSITORY
from helpers.plugins import load, shared

OURS = {"app": "redis", "part-of": "courseload"}


@pytest.fixture
def utils(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """What the modules share, with a mark of the test's own."""
    ours = shared("ours")
    monkeypatch.setattr(ours, "MARK", tmp_path / "mark/made.json")
    return ours


@pytest.fixture
def claim(utils: ModuleType) -> ModuleType:
    return load("modules", "claim")


@pytest.fixture
def withdraw(utils: ModuleType) -> ModuleType:
    return load("modules", "withdraw")


@pytest.fixture
def k3s_here(utils: ModuleType) -> ModuleType:
    return load("modules", "k3s_here")


class FakePodman:
    """Answers as Podman 4.3 does; remembers what it was told to do."""

    def __init__(self) -> None:
        self.pods: list[dict[str, Any]] = []
        self.containers: list[dict[str, Any]] = []
        self.volumes: list[dict[str, Any]] = []
        self.networks: list[dict[str, Any]] = []
        self.images: list[dict[str, Any]] = []
        self.mounts: dict[str, list[str]] = {}
        self.done: list[str] = []
        self.refuses: dict[str, str] = {}

    def pod(self, name: str, labels: dict[str, str] | None = None, mounts: tuple[str, ...] = ()) -> None:
        identity = f"{name}-id"
        self.pods.append({"Name": name, "Id": identity, "Labels": labels, "Containers": [{"Id": f"{name}-c"}]})
        self.container(f"{name}-{name}", labels, pod=identity, identity=f"{name}-c", mounts=mounts)

    def container(self, name: str, labels: dict[str, str] | None = None, **more: Any) -> None:
        """A container, perhaps with the id of a `pod`, an `identity` and `mounts`."""
        identity = more.get("identity") or f"{name}-id"
        entry = {"Names": [name], "Id": identity, "Labels": labels, "Pod": more.get("pod", "")}
        self.containers.append(entry | {"Networks": ["courseload"]})
        self.mounts[identity] = list(more.get("mounts", ()))

    def volume(self, name: str, labels: dict[str, str] | None = None, created: str = "then", uid: int = 0) -> None:
        self.volumes.append({"Name": name, "Labels": labels or {}, "CreatedAt": created, "UID": uid})

    def __call__(self, command: list[str]) -> tuple[int, str, str]:
        words = [word for word in command[1:] if not word.startswith("--")]
        answers: dict[str, Any] = {
            "pod ps": self.pods,
            "ps": self.containers,
            "volume ls": self.volumes,
            "network ls": self.networks,
            "images": self.images,
        }
        if " ".join(words) in answers:
            return 0, json.dumps(answers[" ".join(words)]), ""
        if words[:2] == ["container", "inspect"]:
            found = [{"Mounts": [{"Name": name} for name in self.mounts[identity]]} for identity in words[2:]]
            return 0, json.dumps(found), ""
        said = " ".join(command[1:])
        if said in self.refuses:
            return 125, "", f"Error: {self.refuses[said]}\n"
        self.done.append(said)
        return 0, "", ""


@pytest.fixture
def podman() -> FakePodman:
    return FakePodman()


@pytest.fixture
def found(utils: ModuleType, podman: FakePodman) -> Callable[..., Any]:
    return lambda mark=None: utils.Podman(podman).gather(mark or utils.Mark())


# --- Whose it is


def test_a_volume_is_ours_by_its_label_by_a_pod_of_ours_or_by_the_mark(
    utils: ModuleType, podman: FakePodman, found: Callable[..., Any]
) -> None:
    podman.pod("redis", OURS, mounts=("courseload-redis",))
    podman.pod("other", None, mounts=("courseload-backup",))
    for name in ("courseload-redis", "courseload-backup", "grafana-config"):
        podman.volume(name)
    podman.volume("ingress-config", {"part-of": "courseload"})
    podman.volume("courseload-mongodb", created="noted")
    podman.volume("courseload-loadtest", created="made anew")
    mark = utils.Mark(volumes={"courseload-mongodb": "noted", "courseload-loadtest": "noted"})
    ours = {name for name, volume in found(mark).volumes.items() if volume.ours}
    assert ours == {"courseload-redis", "ingress-config", "courseload-mongodb"}


def test_the_ports_of_a_pod_are_those_of_its_containers_that_run(podman: FakePodman, found: Callable[..., Any]) -> None:
    podman.pod("ingress", OURS)
    podman.pod("relay", OURS)
    ports = [{"host_ip": "127.0.0.1", "host_port": 8080, "container_port": 80, "range": 2, "protocol": "tcp"}]
    for container in podman.containers:
        container |= {"Ports": ports, "State": "running" if container["Pod"] == "ingress-id" else "exited"}
    assert {name: pod.ports for name, pod in found().pods.items()} == {"ingress": (8080, 8081), "relay": ()}


def test_a_network_is_ours_where_our_pods_are_plugged_in_and_not_by_its_name(
    podman: FakePodman, found: Callable[..., Any]
) -> None:
    podman.networks = [{"name": "courseload", "id": "1"}]
    assert not found().networks["courseload"].ours
    podman.pod("redis", OURS)
    assert found().networks["courseload"].ours
    podman.container("somebody")
    assert found().networks["courseload"].used_by_others


def test_what_an_earlier_version_left_is_taken_over_and_not_what_is_called_alike(
    utils: ModuleType, podman: FakePodman, found: Callable[..., Any]
) -> None:
    podman.volume("courseload-redis", uid=10001)
    podman.volume("courseload-loadtest", uid=0)
    podman.volume("courseload-backup", uid=10001)
    podman.networks = [{"name": "courseload", "id": "1"}]
    wanted = ["courseload-redis", "courseload-loadtest"]
    taken = utils.taken_over(found(), wanted, ["courseload"], 10001)
    assert {name for name, volume in taken.volumes.items() if volume.ours} == {"courseload-redis"}
    assert taken.networks["courseload"].ours


def test_a_volume_that_a_manifest_of_ours_names_is_known_by_it(utils: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "pods").mkdir()
    volumes = "persistentVolumeClaim: {claimName: courseload-loadtest}\nconfigMap: {name: x-config}"
    (tmp_path / "pods/ours.yml").write_text(f"labels: {{app: x, part-of: courseload}}\n{volumes}")
    (tmp_path / "pods/theirs.yml").write_text("persistentVolumeClaim: {claimName: courseload-backup}")
    assert utils.in_manifests([str(tmp_path)]) == {"courseload-loadtest", "x-config"}


def test_images_are_ours_by_label_mark_or_the_hash_in_their_tag(utils: ModuleType) -> None:
    entries = [
        {"Names": ["localhost/courseload/redis:0123456789ab"]},
        {"Names": ["localhost/courseload/redis:mine", "localhost/other/redis:0123456789ab"]},
        {"Names": ["localhost/courseload/tool:0123456789ab"]},
        {"Names": ["localhost/courseload/ingress:v3"], "Labels": {"part-of": "courseload"}},
        {"Names": ["localhost/courseload/grafana:11.6.16"]},
        {"Names": None},
    ]
    ours = utils.our_images(
        entries, ["redis", "ingress", "grafana"], utils.Mark(images=["localhost/courseload/grafana:11.6.16"])
    )
    assert ours == [
        "localhost/courseload/redis:0123456789ab",
        "localhost/courseload/ingress:v3",
        "localhost/courseload/grafana:11.6.16",
    ]


# --- The mark


def test_the_mark_is_read_as_it_was_written_and_only_root_reads_it(utils: ModuleType) -> None:
    mark = utils.Mark(directories=["/x"], volumes={"v": "then"}, k3s=True, shared=["/var/log/pods"])
    assert utils.Mark.read(utils.MARK) is None
    mark.write(utils.MARK)
    assert utils.Mark.read(utils.MARK) == mark
    assert stat.S_IMODE(utils.MARK.stat().st_mode) == 0o600


def test_a_mark_that_cannot_be_read_stops_with_its_name(utils: ModuleType) -> None:
    utils.MARK.parent.mkdir(parents=True)
    utils.MARK.write_text("{")
    with pytest.raises(ValueError, match=r"made\.json"):
        utils.Mark.read(utils.MARK)


@pytest.mark.parametrize(
    ("files", "ours"),
    [
        ({}, True),
        ({"notes.txt": ""}, False),
        ({"build/x": "", "notes.txt": ""}, False),
        ({"pods/redis.yml": "labels: {app: redis, part-of: courseload}", "notes.txt": ""}, True),
        ({"sysctl.before": "net.ipv4.conf.all.arp_notify=0\n", "notes.txt": ""}, True),
        ({"credentials/redis/uri": ""}, True),
    ],
    ids=str,
)
def test_a_directory_is_free_where_nothing_of_others_is_in_it(
    utils: ModuleType, tmp_path: Path, files: dict[str, str], ours: bool
) -> None:
    place = tmp_path / "place"
    place.mkdir(mode=0o700)
    for name, content in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(content)
    assert utils.free_for_us(place) is ours


# --- Claims


def test_each_name_that_is_somebody_elses_gets_a_sentence(
    claim: ModuleType, podman: FakePodman, found: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "srv").mkdir()
    (tmp_path / "srv/theirs").touch()
    podman.pod("locust-worker-1")
    podman.pod("redis", OURS, mounts=("redis-scratch-1",))
    podman.container("locust-report")
    podman.volume("grafana-config")
    podman.volume("redis-scratch-1")
    podman.networks = [{"name": "another", "id": "1"}]
    wanted = claim.Claim(
        directories={"state_dir": str(tmp_path / "srv"), "config_dir": str(tmp_path / "none")},
        pods=["locust-worker-1", "redis"],
        containers=["locust-report", "redis-redis"],
        volumes=["grafana-config"],
        scratch=["redis-scratch-1"],
        networks=["another"],
    )
    said = claim.refusals(wanted, found())
    assert [
        next(name for name in ("srv", "worker", "report", "another", "grafana") if name in text) for text in said
    ] == [*("srv", "worker", "report", "another", "grafana")]
    assert "-e state_dir=" in said[0]


def test_what_is_claimed_is_made_with_our_label_and_a_fresh_volume_without_force(
    claim: ModuleType, podman: FakePodman, found: Callable[..., Any]
) -> None:
    podman.volume("courseload-redis", OURS)
    wanted = claim.Claim(networks=["courseload"], volumes=["courseload-redis", "ingress-config"])
    assert claim.provide(wanted, found(), fresh=False) == [
        "network create --label=part-of=courseload courseload",
        "volume create --label=part-of=courseload ingress-config",
    ]
    assert claim.provide(claim.Claim(volumes=["courseload-redis"]), found(), fresh=True) == [
        "volume rm courseload-redis",
        "volume create --label=part-of=courseload courseload-redis",
    ]


def test_the_mark_notes_what_has_no_label_and_once_it_does_nothing_changes(
    utils: ModuleType, claim: ModuleType, podman: FakePodman, found: Callable[..., Any]
) -> None:
    podman.pod("redis", OURS, mounts=("courseload-redis",))
    podman.volume("courseload-redis", created="long ago")
    podman.volume("ingress-config", OURS)
    wanted = claim.Claim(volumes=["courseload-redis", "ingress-config"])
    mark = claim.marked(wanted, found(), None)
    assert mark == utils.Mark(volumes={"courseload-redis": "long ago"})
    assert claim.marked(wanted, found(mark), mark) is mark
    assert claim.marked(claim.Claim(), found(), None) is None


# --- Whose cluster


def tree(root: Path, **files: str) -> Path:
    for name, content in files.items():
        path = root / {"config": "etc/rancher/k3s/config.yaml", "unit": "etc/systemd/system/k3s.service"}[name]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


UNIT_OF_OURS = "# Ansible managed\n[Unit]\n"


@pytest.mark.parametrize(
    ("files", "marked", "owner"),
    [
        ({}, False, ""),
        ({"config": "# Written by the role k3s: set"}, False, "ours"),
        ({"config": "token: x"}, False, "another's"),
        ({"config": "token: x"}, True, "another's"),
        ({"unit": "[Unit]\n"}, False, "another's"),
        ({"unit": "[Unit]\n"}, True, "another's"),
        ({"unit": UNIT_OF_OURS}, True, "ours"),
        ({}, True, "ours"),
    ],
    ids=str,
)
def test_a_k3s_is_ours_only_where_its_configuration_or_the_mark_says_so(
    utils: ModuleType, tmp_path: Path, files: dict[str, str], marked: bool, owner: str
) -> None:
    mark = utils.Mark(k3s=True) if marked else None
    assert utils.k3s_owner(mark, tree(tmp_path / "root", **files)) == owner


def test_kubelets_of_others_are_known_by_their_units(utils: ModuleType, tmp_path: Path) -> None:
    assert utils.other_kubelets(tmp_path) == []
    (tmp_path / "usr/local/lib/systemd/system").mkdir(parents=True)
    (tmp_path / "usr/local/lib/systemd/system/rke2-server.service").touch()
    assert utils.other_kubelets(tmp_path) == ["rke2-server.service"]


def test_what_kubelets_share_stays_where_there_is_another_one(k3s_here: ModuleType) -> None:
    assert set(k3s_here.trees([], [])) > {"/var/lib/kubelet", "/etc/rancher/node", "/var/lib/rancher/k3s"}
    assert "/var/lib/kubelet" not in k3s_here.trees([], ["/var/lib/kubelet"])
    left = k3s_here.trees(["rke2-server.service"], [])
    assert not {"/var/lib/kubelet", "/var/log/pods", "/etc/rancher/node", "/var/lib/rancher", "/etc/rancher"} & {*left}


def test_a_tree_with_something_mounted_in_it_stays_and_a_disk_is_emptied(k3s_here: ModuleType, tmp_path: Path) -> None:
    for name in ("disk", "deep", "plain"):
        (tmp_path / name / "in").mkdir(parents=True)
    sweep = k3s_here.Sweep(check=False, mounts=[str(tmp_path / "disk"), str(tmp_path / "deep/in")])
    for name in ("disk", "deep", "plain"):
        sweep.tree(tmp_path / name)
    assert [(tmp_path / name).exists() for name in ("disk", "disk/in", "deep/in", "plain")] == [
        True,
        False,
        True,
        False,
    ]
    assert len(sweep.left) == 1


# --- Removal


def asked(withdraw: ModuleType, **given: Any) -> Any:
    lists = ("volumes", "networks", "order", "credentials", "images", "sysctl_names")
    paths = ("config_dir", "state_dir", "archives", "sysctl_file")
    nothing: dict[str, Any] = {
        **{name: [] for name in lists},
        **dict.fromkeys(paths),
        "podman": False,
        "keep_data": False,
        "uid": 10001,
        "files": {},
        "replaced": None,
    }
    return withdraw.Asked(**(nothing | given))


def test_only_what_is_ours_is_removed_and_volumes_without_force(
    withdraw: ModuleType, podman: FakePodman, found: Callable[..., Any]
) -> None:
    podman.pod("locust-worker-9", mounts=("redis-config",))
    podman.pod("redis", OURS, mounts=("courseload-redis",))
    podman.pod("relay", OURS, mounts=("relay-scratch-1",))
    podman.container("locust-report", OURS)
    podman.container("redis-backup")
    for name in ("redis-config", "grafana-config", "courseload-backup", "courseload-redis", "relay-scratch-1"):
        podman.volume(name)
    podman.networks = [{"name": "courseload", "id": "1"}, {"name": "podman", "id": "2"}]
    commands = [" ".join(command) for command in withdraw.commands(found(), ["redis", "relay"], False)]
    assert commands == [
        "pod stop --time=30 relay-id",
        "pod stop --time=30 redis-id",
        "pod rm --force relay-id",
        "pod rm --force redis-id",
        "rm --force locust-report-id",
        "volume rm courseload-redis",
        "volume rm relay-scratch-1",
        "network rm courseload",
    ]
    assert "volume rm courseload-redis" not in [
        " ".join(command) for command in withdraw.commands(found(), ["redis", "relay"], True)
    ]


def test_what_somebody_else_uses_stays_and_is_named(
    utils: ModuleType, withdraw: ModuleType, podman: FakePodman
) -> None:
    podman.refuses = {"volume rm courseload-redis": "volume is being used by the following container(s): theirs"}
    withdrawal = withdraw.Withdrawal(utils.Podman(podman), check=False)
    withdrawal.run(["volume", "rm", "courseload-redis"])
    assert withdrawal.removed == []
    assert withdrawal.left == [
        "The volume courseload-redis stays: volume is being used by the following container(s): theirs."
    ]


def test_what_is_kept_is_noted_before_the_pods_go(utils: ModuleType, withdraw: ModuleType, podman: FakePodman) -> None:
    withdraw.MARK = utils.MARK  # type: ignore[attr-defined]
    podman.pod("redis", OURS, mounts=("courseload-redis",))
    podman.volume("courseload-redis", created="long ago")
    mark = withdraw.keep(utils.Podman(podman).gather(utils.Mark()), utils.Mark(), keep_data=True, check=True)
    assert mark.volumes == {"courseload-redis": "long ago"}


@pytest.fixture
def place(utils: ModuleType, tmp_path: Path) -> Path:
    """A directory of ours, with what we write there and what somebody else has put beside it."""
    place = tmp_path / "place"
    utils.sign(place, "config_dir")
    for name in (
        *("pods/redis.yml", "pods/theirs.yml", "credentials/redis/.password", "credentials/redis/uri"),
        *("credentials/redis/theirs", "credentials/relay/uri", "image_source", "theirs.conf", "build/context/x"),
        "control_machine.json",
    ):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text("part-of: courseload" if name == "pods/redis.yml" else "")
    return place


def left(place: Path) -> set[str]:
    return {str(path.relative_to(place)) for path in place.rglob("*") if path.is_file()}


def test_of_a_directory_only_what_we_wrote_is_removed(withdraw: ModuleType, place: Path) -> None:
    sweep = withdraw.Sweep(check=False)
    sentence = withdraw.clear_directory(sweep, place, asked(withdraw, config_dir=str(place), credentials=["uri"]))
    assert left(place) == {"pods/theirs.yml", "credentials/redis/theirs", "theirs.conf", "build/context/x"}
    assert "theirs.conf" in sentence


def test_with_keep_data_credentials_stay(withdraw: ModuleType, place: Path) -> None:
    wanted = asked(withdraw, config_dir=str(place), credentials=["uri"], keep_data=True)
    withdraw.clear_directory(withdraw.Sweep(check=False), place, wanted)
    assert {"credentials/redis/uri", "credentials/redis/.password", "image_source", ".courseload"} <= left(place)
    assert "pods/redis.yml" not in left(place)


def test_a_directory_that_is_not_ours_is_not_touched(withdraw: ModuleType, tmp_path: Path) -> None:
    srv = tmp_path / "srv"
    (srv / "build/context").mkdir(parents=True)
    (srv / "build/context/theirs").touch()
    (srv / "credentials").mkdir()
    sentence = withdraw.clear_directory(withdraw.Sweep(check=False), srv, asked(withdraw, state_dir=str(srv)))
    assert left(srv) == {"build/context/theirs"}
    assert "stays as it is" in sentence


@pytest.mark.parametrize("there", [True, False], ids=["was there before", "was made by us"])
def test_an_empty_directory_goes_where_we_made_it_and_gets_its_mode_back_where_we_did_not(
    utils: ModuleType, withdraw: ModuleType, tmp_path: Path, there: bool
) -> None:
    place = tmp_path / "place"
    if there:
        place.mkdir(mode=0o755)
        place.chmod(0o755)
    utils.sign(place, "state_dir")
    place.chmod(0o700)
    withdraw.clear_directory(withdraw.Sweep(check=False), place, asked(withdraw, state_dir=str(place)))
    assert place.exists() is there
    if there:
        assert stat.S_IMODE(place.stat().st_mode) == 0o755
        assert left(place) == set()


def test_check_mode_removes_nothing_and_says_the_same(withdraw: ModuleType, place: Path, tmp_path: Path) -> None:
    wanted = asked(withdraw, config_dir=str(place), credentials=["uri"])
    checked, before = withdraw.Sweep(check=True), left(place)
    withdraw.clear_directory(checked, place, wanted)
    assert left(place) == before
    done = withdraw.Sweep(check=False)
    withdraw.clear_directory(done, place, wanted)
    assert checked.removed == done.removed


def test_archives_go_by_their_names_and_their_directory_when_nothing_else_is_in_it(
    withdraw: ModuleType, tmp_path: Path
) -> None:
    directory = tmp_path / "courseload/images"
    directory.mkdir(parents=True)
    ours = ("redis-0123456789ab.tar.zst", ".redis-0123456789ab.tar.zst.new", "redis-8.0.tar.zst")
    packages = ("bookworm-amd64.tar", ".trixie-arm64.tar.new")
    theirs = ("redis-backup.tar.zst", "other-0123456789ab.tar.zst", "notes", "theirs.tar", "bookworm-amd64.tar.gz")
    for name in (*ours, *packages, *theirs):
        (directory / name).touch()
    withdraw.clear_archives(withdraw.Sweep(check=False), directory, ["redis"])
    assert left(directory) == {*theirs}
    for name in theirs:
        (directory / name).unlink()
    withdraw.clear_archives(withdraw.Sweep(check=False), directory, ["redis"])
    assert not directory.parent.exists()


def test_of_the_kernels_settings_only_our_lines_go(withdraw: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "sysctl.conf"
    file.write_text("vm.swappiness=1\nkernel.panic=10\n")
    withdraw.clear_sysctl(withdraw.Sweep(check=False), file, ["kernel.panic"])
    assert file.read_text() == "vm.swappiness=1\n"
    withdraw.clear_sysctl(withdraw.Sweep(check=False), file, ["vm.swappiness"])
    assert not file.exists()


def test_images_are_removed_as_often_as_one_goes_and_those_in_use_are_named(
    utils: ModuleType, withdraw: ModuleType, podman: FakePodman
) -> None:
    podman.images = [{"Names": ["localhost/courseload/redis:0123456789ab"]}]
    podman.refuses = {"image rm localhost/courseload/redis:0123456789ab": "image is in use by a container"}
    withdrawal = withdraw.Withdrawal(utils.Podman(podman), check=False)
    withdrawal.images(["redis"], utils.Mark())
    assert withdrawal.left == [
        "The image localhost/courseload/redis:0123456789ab stays: image is in use by a container."
    ]


# --- The names of pods


def test_a_workload_and_its_manifest_take_the_same_names() -> None:
    spec = {"volume": "/srv", "config": [{}, {}], "scratch": ["/a"], "sidecars": {"side": {}}, "volume_name": "other"}
    manifest = {
        "kind": "Pod",
        "metadata": {"name": "it"},
        "spec": {
            "containers": [{"name": "it"}, {"name": "side"}],
            "volumes": [
                {"name": "it-scratch-1", "emptyDir": {}},
                {"name": "it-scratch-2", "emptyDir": {}},
                {"name": "data", "persistentVolumeClaim": {"claimName": "courseload-other"}},
                {"name": "config", "configMap": {"name": "it-config"}},
                {"name": "config-2", "configMap": {"name": "it-config-2"}},
                {"name": "credentials-it", "hostPath": {"path": "/etc"}},
            ],
        },
    }
    assert pod_names({"it": spec}) == manifest_names([manifest, {"kind": "ConfigMap"}])


# --- What clean.sh makes of the packet filter

CLEAN = Path(__file__).parents[2] / "roles/k3s/files/clean.sh"
# As iptables-save prints it on a host with k3s and with a Podman whose networks are made by CNI plugins.
K3S_RULES = r"""
:KUBE-SERVICES - [0:0]
:CNI-HOSTPORT-DNAT - [0:0]
:CNI-DN-aaaa - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
-A POSTROUTING -s 10.42.0.0/24 ! -d 10.42.0.0/16 -m comment --comment "flanneld masq" -j MASQUERADE
-A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: \"cbr0\" id: \"a\"" -m multiport --dports 80 -j CNI-DN-aaaa
-A CNI-DN-aaaa -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.42.0.5:80
-A KUBE-SERVICES -d 10.43.0.1/32 -p tcp -j KUBE-SVC
"""
PODMANS_RULES = r"""
:CNI-bbbb - [0:0]
:CNI-DN-bbbb - [0:0]
-A POSTROUTING -s 10.88.0.2/32 -m comment --comment "name: \"podman\" id: \"b\"" -j CNI-bbbb
-A CNI-bbbb -d 10.88.0.0/16 -m comment --comment "name: \"podman\" id: \"b\"" -j ACCEPT
-A CNI-HOSTPORT-DNAT -m comment --comment "dnat name: \"podman\" id: \"b\"" -m multiport --dports 81 -j CNI-DN-bbbb
-A CNI-DN-bbbb -p tcp -m tcp --dport 81 -j DNAT --to-destination 10.88.0.2:80
-A FORWARD -m comment --comment "CNI firewall plugin rules" -j CNI-FORWARD
-A POSTROUTING -s 192.0.2.0/24 -j MASQUERADE
"""


def removals(*rules: str) -> list[str]:
    """What clean.sh hands to iptables-restore."""
    said = "*nat\n:PREROUTING ACCEPT [0:0]\n" + "".join(part.lstrip("\n") for part in rules) + "COMMIT\n"
    command = f"source <(sed -n '/^removals()/,/^}}/p' {CLEAN}); removals"
    done = subprocess.run(["bash", "-c", command], input=said, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_all_chains_of_k3s_go_where_nobody_else_has_any() -> None:
    assert removals(K3S_RULES) == [
        "*nat",
        '-D PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
        "-D PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT",
        '-D POSTROUTING -s 10.42.0.0/24 ! -d 10.42.0.0/16 -m comment --comment "flanneld masq" -j MASQUERADE',
        *("-F KUBE-SERVICES", "-F CNI-HOSTPORT-DNAT", "-F CNI-DN-aaaa"),
        *("-X KUBE-SERVICES", "-X CNI-HOSTPORT-DNAT", "-X CNI-DN-aaaa"),
        "COMMIT",
    ]


def test_chains_of_a_podman_with_cni_plugins_stay_and_what_leads_into_them() -> None:
    lines = removals(K3S_RULES, PODMANS_RULES)
    assert not [line for line in lines if "bbbb" in line or "podman" in line or "FORWARD" in line or "192.0.2" in line]
    assert not [
        line for line in lines if line.startswith(("-F CNI-HOSTPORT", "-X CNI-HOSTPORT", "-D PREROUTING -m addr"))
    ]
    assert '-D CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: \\"cbr0\\" id: \\"a\\"" ' in "".join(lines)
    assert {"-F CNI-DN-aaaa", "-X CNI-DN-aaaa", "-X KUBE-SERVICES"} <= {*lines}


def test_where_k3s_has_nothing_nothing_is_removed() -> None:
    assert removals(PODMANS_RULES.replace("CNI-HOSTPORT-DNAT", "OTHER")) == []


def test_a_reset_knows_the_jobs_of_the_role_locust(withdraw: ModuleType) -> None:
    role = REPOSITORY / "roles/locust"
    usual = yaml.safe_load((role / "vars/main.yml").read_text())["__locust_job"]
    named = re.findall(r"__locust_job: (.+)", "".join(path.read_text() for path in role.glob("tasks/*.yml")))
    assert set(withdraw.LOADS) == {usual, *named}
    assert len(named) == 3
