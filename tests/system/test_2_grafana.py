"""Grafana's pod with a stand-in for Grafana, which is in no package registry: what it finds and may change."""

import http.client
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers import courseload, machine
from helpers.manifests import render

CREDENTIALS = {"admin": "of its login", "secret_key": "of its database", "reader": "of its accounts"}
PLUGINS = ("haohanyang-mongodb-datasource", "redis-datasource")

# It says what it sees to whoever asks, as a program at the place of Grafana would see it.
STAND_IN = """
import http.server, json, os, pathlib
def below(*places):
    return {str(p): p.read_text() for place in places for p in pathlib.Path(place).rglob("*") if p.is_file()}
def may_write(place):
    try:
        pathlib.Path(place, "written").write_text("")
    except OSError:
        return False
    return True
places = ["/var/lib/grafana", "/run/credentials/grafana", "/etc/grafana/dashboards", "/srv/plugins/grafana-redis"]
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        files = below("/etc/grafana", "/srv/plugins", "/run/credentials")
        seen = {"files": files, "environment": dict(os.environ), "writable": [p for p in places if may_write(p)]}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(seen).encode())
http.server.HTTPServer(("", 3000), Answer).serve_forever()
"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What the stand-in says, in the very pod that site.yml would play."""
    if "grafana" in courseload.pods():
        pytest.skip("Grafana itself runs here")
    host = tmp_path_factory.mktemp("host")
    manifest = host / "grafana.yml"
    manifest.write_text(with_stand_in(render(tmp_path_factory.mktemp("manifests"), "registry").pods["grafana"], host))
    try:
        machine.podman("kube", "play", "--network=courseload", str(manifest))
        yield answer()
    finally:
        machine.podman("pod", "rm", "--force", "--time=0", "--ignore", "grafana")
        for name in machine.podman_list("volume"):
            if re.match(r"courseload-grafana$|grafana-", name):
                machine.podman("volume", "rm", name)


def with_stand_in(text: str, host: Path) -> str:
    """The pod with another program, and with directories of the test for those of the host."""
    secrets = host / "credentials/grafana"
    secrets.mkdir(parents=True)
    for name, content in CREDENTIALS.items():
        (secrets / name).write_text(content)
        (secrets / name).chmod(0o444)
    secrets.chmod(0o555)
    for plugin in PLUGINS:
        (path,) = re.findall(rf"/var/lib/courseload(/artifacts/grafana/{plugin}-[\d.]+)", text)
        program = Path(f"{host}{path}") / plugin / "plugin.json"
        program.parent.mkdir(parents=True)
        program.write_text(plugin)
    (program.parents[1] / "stand_in.py").write_text(STAND_IN)
    image = re.findall(r"image: (\S+/services:\S+)", (courseload.MANIFESTS / "direct.yml").read_text())[0]
    (upstream,) = re.findall(r"image: (\S+/grafana:\S+)", text)
    for what, instead in (
        (upstream, image),
        ("- /run.sh", "- python3\n    - /srv/plugins/grafana-redis/stand_in.py"),
        ("/etc/courseload/credentials", f"{host}/credentials"),
        ("/var/lib/courseload/artifacts", f"{host}/artifacts"),
    ):
        assert what in text
        text = text.replace(what, instead)
    return text


def answer() -> dict[str, Any]:
    """What is said on the port that is published; fails when that takes longer than half a minute."""
    deadline = time.monotonic() + 30
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", 3000, timeout=5)
        try:
            connection.request("GET", "/api/health")
            found: dict[str, Any] = json.loads(connection.getresponse().read())
            return found
        except (OSError, http.client.HTTPException):
            assert time.monotonic() < deadline, "nobody answers on port 3000"
            time.sleep(0.2)
        finally:
            connection.close()


def test_it_finds_its_data_sources_and_every_dashboard(seen: dict[str, Any]) -> None:
    files = seen["files"]
    assert "courseload-prometheus" in files["/etc/grafana/provisioning/datasources/datasources.yml"]
    assert "/etc/grafana/dashboards" in files["/etc/grafana/provisioning/dashboards/dashboards.yml"]
    found = {
        path: json.loads(text) for path, text in files.items() if path.endswith(".json") and "/dashboards/" in path
    }
    generated = machine.REPOSITORY.glob("files/dashboards/*.json")
    assert found == {f"/etc/grafana/dashboards/{path.name}": json.loads(path.read_text()) for path in generated}
    assert seen["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] in files


def test_it_finds_its_plugins_and_the_passwords_to_which_it_is_pointed(seen: dict[str, Any]) -> None:
    files = seen["files"]
    below = [path for path in files if path.startswith(seen["environment"]["GF_PATHS_PLUGINS"] + "/")]
    assert {files[path] for path in below if path.endswith("/plugin.json")} == set(PLUGINS)
    assert files[seen["environment"]["GF_SECURITY_ADMIN_PASSWORD__FILE"]] == CREDENTIALS["admin"]
    assert files[seen["environment"]["GF_SECURITY_SECRET_KEY__FILE"]] == CREDENTIALS["secret_key"]
    pointed = re.findall(r"\$__file\{(.+?)\}", files["/etc/grafana/provisioning/datasources/datasources.yml"])
    assert [files[path] for path in pointed] == [CREDENTIALS["reader"]] * 2


def test_it_can_change_nothing_but_its_volume(seen: dict[str, Any]) -> None:
    assert seen["writable"] == ["/var/lib/grafana"]
