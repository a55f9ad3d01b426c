"""A fake of a cluster's API over HTTPS: Deployments and metrics of pods, as many servers of it as wanted."""

import base64
import datetime
import ipaddress
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

TOKEN = "a-token"
DEPLOYMENTS = "/apis/apps/v1/namespaces/courseload/deployments"
PODS = "/apis/metrics.k8s.io/v1beta1/namespaces/courseload/pods"


class Authority:
    """A certificate for 127.0.0.1 that vouches for itself, in a file with its key."""

    def __init__(self, directory: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "k3s")])
        now = datetime.datetime.now(datetime.UTC)
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        certificate = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.SubjectAlternativeName([address]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        self.certificate = certificate.public_bytes(serialization.Encoding.PEM)
        self.file = directory / "server.pem"
        self.file.write_bytes(
            self.certificate
            + key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )


class Cluster:
    """What the API tells: replicas by Deployment, and (workload, CPU) of each pod; None while nothing is measured."""

    def __init__(self, authority: Authority) -> None:
        self.authority = authority
        self.replicas = {"relay": 1, "direct": 2, "ledger": 0}
        self.pods: list[tuple[str, str]] | None = [
            ("relay", "250m"),
            ("direct", "100m"),
            ("direct", "150000000n"),
            ("mongodb", "1"),
        ]

    def answer(self, path: str) -> dict[str, Any] | None:
        if path == DEPLOYMENTS:
            # As Kubernetes does, it leaves out what is 0.
            return {
                "items": [
                    {"metadata": {"name": name}, "status": {"readyReplicas": ready} if ready else {}}
                    for name, ready in self.replicas.items()
                ]
            }
        if path == PODS and self.pods is not None:
            return {
                "items": [
                    {
                        "metadata": {"name": f"{name}-{at}", "labels": {"app": name}},
                        "containers": [{"name": name, "usage": {"cpu": cpu}}, {"name": "side", "usage": {"cpu": "0"}}],
                    }
                    for at, (name, cpu) in enumerate(self.pods)
                ]
            }
        return None

    @contextmanager
    def server(self, port: int = 0) -> Iterator[int]:
        """One of its API servers, at a port of 127.0.0.1."""
        cluster = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                allowed = self.headers["Authorization"] == f"Bearer {TOKEN}"
                answer = cluster.answer(self.path) if allowed else None
                body = json.dumps(answer or {"kind": "Status"}).encode()
                self.send_response(200 if answer else 404 if allowed else 401)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        with Server(("127.0.0.1", port), Handler) as server:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.authority.file)
            server.socket = context.wrap_socket(server.socket, server_side=True)
            threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
            yield server.server_port
            server.shutdown()
            server.cut()


class Server(ThreadingHTTPServer):
    """A server that can cut the connections that it has."""

    daemon_threads = True

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.connections: list[Any] = []

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.append(request)
        super().process_request(request, client_address)

    def cut(self) -> None:
        for connection in self.connections:
            self.shutdown_request(connection)


def kubeconfig(ports: list[int], authority: Authority, token: str = TOKEN) -> str:
    """A kubeconfig with a context for each server, as site.yml leaves it on the ops host."""
    authority_data = base64.b64encode(authority.certificate).decode()
    servers = {f"server{at}": f"https://127.0.0.1:{port}" for at, port in enumerate(ports, start=1)}
    return json.dumps(
        {
            "clusters": [
                {"name": name, "cluster": {"server": url, "certificate-authority-data": authority_data}}
                for name, url in servers.items()
            ],
            "users": [{"name": "ops", "user": {"token": token}}],
            "contexts": [
                {"name": name, "context": {"cluster": name, "user": "ops", "namespace": "courseload"}}
                for name in servers
            ],
        }
    )
