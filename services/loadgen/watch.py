"""Watches the workloads in the cluster while the load test runs, through the Kubernetes API.

The API is asked where the kubeconfig says, with its token: for Deployments, and for what metrics-server measured.
Nothing that happens here fails a run: what could not be asked is a gap in the report, with a sentence when it never
answered.
"""

import base64
import http.client
import signal
import ssl
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar
from urllib.parse import urlsplit

import msgspec

from loadgen.collector import Load
from loadgen.settings import RunDirectory, Settings, write_json
from loadgen.workloads import Workloads, WorkloadSecond

EVERY_S = 2.0
PATIENCE_S = 3.0
CORES = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3}
"""What the ends of Kubernetes' quantities stand for."""

T = TypeVar("T")


class NoAnswer(Exception):
    """The API did not say what it was asked; the message says why."""


class Cluster(msgspec.Struct):
    """Where an API server is, and the certificate authority that vouches for it."""

    server: str
    authority: str = msgspec.field(name="certificate-authority-data")


class NamedCluster(msgspec.Struct):
    name: str
    cluster: Cluster


class User(msgspec.Struct):
    token: str


class NamedUser(msgspec.Struct):
    name: str
    user: User


class Context(msgspec.Struct):
    cluster: str
    user: str
    namespace: str


class NamedContext(msgspec.Struct):
    name: str
    context: Context


class Kubeconfig(msgspec.Struct):
    """A kubeconfig, as JSON: a context for each server of one cluster."""

    clusters: list[NamedCluster]
    users: list[NamedUser]
    contexts: list[NamedContext]


class Metadata(msgspec.Struct):
    name: str
    labels: dict[str, str] = {}


class DeploymentStatus(msgspec.Struct, rename="camel"):
    ready_replicas: int = 0


class Deployment(msgspec.Struct):
    metadata: Metadata
    status: DeploymentStatus


class Deployments(msgspec.Struct):
    items: list[Deployment]


class Usage(msgspec.Struct):
    cpu: str


class ContainerMetrics(msgspec.Struct):
    usage: Usage


class PodMetrics(msgspec.Struct):
    metadata: Metadata
    containers: list[ContainerMetrics]


class PodMetricsList(msgspec.Struct):
    items: list[PodMetrics]


class Measured(NamedTuple):
    """How many pods of a workload were measured, and the CPU that they used together."""

    pods: int
    cpu_cores: float


class Server:
    """One API server, asked over one connection for as long as that holds."""

    def __init__(self, cluster: Cluster, token: str, namespace: str) -> None:
        self.url = cluster.server
        self.namespace = namespace
        self._authority = base64.b64decode(cluster.authority).decode()
        self._headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        self._connection: http.client.HTTPSConnection | None = None

    def get(self, path: str) -> bytes:
        """The body of a GET; raises `NoAnswer`."""
        try:
            connection = self._connection or self._connect()
            connection.request("GET", path, headers=self._headers)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as problem:
            self._disconnect()
            raise NoAnswer(f"{self.url}: {problem or type(problem).__name__}") from problem
        if answer.status != http.HTTPStatus.OK:
            raise NoAnswer(f"{self.url}{path}: {answer.status} {answer.reason}")
        return body

    def _connect(self) -> http.client.HTTPSConnection:
        url = urlsplit(self.url)
        trusted = ssl.create_default_context(cadata=self._authority)
        address = url.hostname or ""
        self._connection = http.client.HTTPSConnection(address, url.port, timeout=PATIENCE_S, context=trusted)
        return self._connection

    def _disconnect(self) -> None:
        if self._connection:
            self._connection.close()
            self._connection = None


class Api:
    """The API of a cluster, through whichever of its servers answers."""

    def __init__(self, servers: Sequence[Server]) -> None:
        self._servers = list(servers)

    def replicas(self) -> dict[str, int]:
        """The replicas that are ready, by Deployment; raises `NoAnswer`."""
        namespace = self._servers[0].namespace
        deployments = self._ask(f"/apis/apps/v1/namespaces/{namespace}/deployments", Deployments).items
        return {deployment.metadata.name: deployment.status.ready_replicas for deployment in deployments}

    def measured(self) -> dict[str, Measured]:
        """What was measured last, by the label `app` of the pods; raises `NoAnswer`."""
        namespace = self._servers[0].namespace
        pods = self._ask(f"/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods", PodMetricsList).items
        found: dict[str, Measured] = {}
        for pod in pods:
            if workload := pod.metadata.labels.get("app"):
                before = found.get(workload, Measured(0, 0.0))
                cores = sum(cores_of(container.usage.cpu) for container in pod.containers)
                found[workload] = Measured(before.pods + 1, round(before.cpu_cores + cores, 4))
        return found

    def _ask(self, path: str, kind: type[T]) -> T:
        """Asks the server that answered last, then the others, then itself again: its connection may have been old."""
        problem = NoAnswer("no server")
        for _ in range(len(self._servers) + 1):
            try:
                return msgspec.json.decode(self._servers[0].get(path), type=kind)
            except NoAnswer as why:
                problem = why
                self._servers.append(self._servers.pop(0))
            except msgspec.DecodeError as why:
                problem = NoAnswer(f"{self._servers[0].url}{path}: {why}")
        raise problem


class Watch:
    """What is seen of the workloads, one look after the other."""

    def __init__(self, api: Api, directory: RunDirectory) -> None:
        self._api = api
        self._directory = directory
        self._seen: list[tuple[float, dict[str, tuple[int, float | None]]]] = []
        self._problems: dict[str, str] = {}

    def look(self) -> None:
        """Looks once. A moment at which the API does not answer is one that is not in the report."""
        at = time.time()
        replicas: dict[str, int] = {}
        measured: dict[str, Measured] = {}
        try:
            replicas = self._api.replicas()
            measured = self._api.measured()
        except NoAnswer as problem:
            self._problems["CPU" if replicas else "replicas"] = str(problem)
        write_json(self._directory.replicas, replicas)
        # What is no Deployment has as many replicas as were measured.
        for name in (measured.keys() if replicas else set()) - replicas.keys():
            replicas[name] = measured[name].pods
        cores = {name: pods.cpu_cores for name, pods in measured.items()}
        self._seen.append((at, {name: (count, cores.get(name)) for name, count in sorted(replicas.items())}))

    def finish(self) -> None:
        """Writes what was seen between the first user and the end of the run, and what never was."""
        if not self._directory.load.exists():  # there was no run
            return
        load = msgspec.json.decode(self._directory.load.read_bytes(), type=Load)
        routes = list(msgspec.json.decode(self._directory.settings.read_bytes(), type=Settings).weights)
        write_json(self._directory.workloads, self._rows(load, routes))
        if sentence := self._never_seen():
            self._directory.unwatched.write_text(sentence, encoding="utf-8")

    def _rows(self, load: Load, routes: Sequence[str]) -> Workloads:
        """By workload, the routes first."""
        rows: Workloads = {}
        for at, workloads in self._seen:
            if load.started_at <= at <= load.ended_at:
                for name, (replicas, cpu_cores) in workloads.items():
                    row = WorkloadSecond(int(at - load.started_at), replicas, cpu_cores)
                    rows.setdefault(name, []).append(row)
        names = [*(route for route in routes if route in rows), *sorted(rows.keys() - set(routes))]
        return {name: rows[name] for name in names}

    def _never_seen(self) -> str:
        figures = [figure for _, workloads in self._seen for figure in workloads.values()]
        if not figures:
            why = self._problems.get("replicas", "there are no Deployments")
            return f"The workloads' replicas and CPU are missing: the Kubernetes API never told them ({why})."
        if not any(cpu_cores for _, cpu_cores in figures):
            why = self._problems.get("CPU", "nothing was measured")
            return f"The workloads' CPU is missing: the cluster's metrics API never told it ({why})."
        return ""


def watch(kubeconfig: Path, directory: RunDirectory) -> None:
    """Watches until it is told to end (SIGTERM), then writes what it saw into the run's directory."""
    ends = {signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    try:
        servers = read_servers(kubeconfig)
    except (OSError, msgspec.MsgspecError, KeyError, ValueError) as problem:
        directory.unwatched.write_text(f"The workloads were not watched: {kubeconfig} is no use ({problem}).")
        return
    watching = Watch(Api(servers), directory)
    next_look = time.monotonic()
    while True:
        watching.look()
        next_look = max(next_look + EVERY_S, time.monotonic())
        if signal.sigtimedwait(ends, max(0.0, next_look - time.monotonic())):
            break
    watching.finish()


def read_servers(kubeconfig: Path) -> list[Server]:
    """The servers of a kubeconfig, one for each context."""
    content = msgspec.json.decode(kubeconfig.read_bytes(), type=Kubeconfig)
    clusters = {named.name: named.cluster for named in content.clusters}
    tokens = {named.name: named.user.token for named in content.users}
    contexts = [named.context for named in content.contexts]
    return [Server(clusters[context.cluster], tokens[context.user], context.namespace) for context in contexts]


def cores_of(quantity: str) -> float:
    """Kubernetes' quantities of CPU in cores: 250m is a quarter, 1500000n is 0.0015."""
    number = quantity.rstrip("".join(CORES))
    return float(number) * CORES[quantity.removeprefix(number)]
