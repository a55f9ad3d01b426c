#!/usr/bin/python
"""The module `image_digests`: which digests the tags of images have in their registries, or in a mirror of these."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode, urlsplit

from ansible.module_utils import urls
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.courseload.downloads import insecure, reason

DOCUMENTATION = """
module: image_digests
short_description: Ask registries for the digests of images
description:
  - It changes nothing, pulls nothing, and has no account. What does not come over TLS is no answer.
options:
  images:
    description: The C(name), with the registry, and the C(tag) of each, by a key.
    type: dict
    required: true
  mirror: {description: 'The URL of a mirror, asked in place of the registries, or empty.', type: str, default: ''}
"""

RETURN = """
digests: {description: C(sha256:) and the sum of each that was found, by its key., type: dict, returned: always}
failures: {description: Why the others were not, by their keys., type: dict, returned: always}
"""

PATIENCE_S = 10
# An index, if there is one: it is the same for all architectures.
ACCEPT = ", ".join(
    f"application/vnd.{kind}+json"
    for kind in (
        "oci.image.index.v1",
        "docker.distribution.manifest.list.v2",
        "oci.image.manifest.v1",
        "docker.distribution.manifest.v2",
    )
)
NO_ANSWER = (OSError, ValueError, KeyError, HTTPException, urls.ConnectionError)


def manifest_url(name: str, tag: str, mirror: str) -> str:
    """Where the manifest of a tag is, by the protocol of OCI's registries."""
    registry, _, repository = name.partition("/")
    if mirror:
        server = urlsplit(mirror)
        path = f"{server.path.strip('/')}/{repository}".strip("/")
        return f"{server.scheme}://{server.netloc}/v2/{path}/manifests/{tag}"
    # Docker's is at another address than its name.
    address = "registry-1.docker.io" if registry == "docker.io" else registry
    return f"https://{address}/v2/{repository}/manifests/{tag}"


def digest(url: str) -> str:
    """The digest that a registry has at such a URL; raises one of NO_ANSWER."""
    if insecure(url):
        raise ValueError("it is not https, so anybody on the way can change the answer")
    try:
        return _digest(url, {})
    except HTTPError as refused:
        challenge = refused.headers.get("WWW-Authenticate", "")
        if refused.code != 401 or not challenge.lower().startswith("bearer "):
            raise
    return _digest(url, {"Authorization": f"Bearer {_token(challenge)}"})


def _digest(url: str, headers: Mapping[str, str]) -> str:
    # HEAD does not count as a pull where these are rationed.
    with _opened(url, "HEAD", headers) as response:
        found = response.headers.get("Docker-Content-Digest") or ""
    if not re.fullmatch("sha256:[0-9a-f]{64}", found):
        raise ValueError("it does not say which digest it has")
    return found


def _token(challenge: str) -> str:
    """What anybody gets who asks where a registry says."""
    asked = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    realm = asked.pop("realm")
    with _opened(f"{realm}?{urlencode(asked)}", "GET", {}) as response:
        answer = json.loads(response.read())
    return str(answer.get("token") or answer["access_token"])


def _opened(url: str, method: str, headers: Mapping[str, str]) -> Any:
    accept = {"Accept": ACCEPT} if method == "HEAD" else {}
    response = urls.open_url(
        url,
        method=method,
        headers=accept | dict(headers),
        timeout=PATIENCE_S,
        http_agent="courseload",
        follow_redirects="safe",  # by default, what a HEAD leads to would be a GET
    )
    if insecure(response.geturl()):
        response.close()
        raise ValueError("it leads to a URL that is not https, so anybody on the way can change the answer")
    return response


def ask(images: Mapping[str, Mapping[str, Any]], mirror: str) -> dict[str, dict[str, str]]:
    """The digests of images, and why others were not to be had, as the module returns them."""
    digests, failures = {}, {}
    for key, image in images.items():
        try:
            digests[key] = digest(manifest_url(image["name"], image["tag"], mirror))
        except NO_ANSWER as problem:
            failures[key] = reason(problem)
    return {"digests": digests, "failures": failures}


def main() -> None:
    """Runs the module."""
    module = AnsibleModule(
        argument_spec={
            "images": {"type": "dict", "required": True},
            # A URL may have a password in it.
            "mirror": {"type": "str", "default": "", "no_log": True},
        },
        supports_check_mode=True,
    )
    module.exit_json(**ask(module.params["images"], module.params["mirror"]))


if __name__ == "__main__":
    main()
