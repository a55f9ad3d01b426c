"""What publishers and registries answer: why there was none, and whether it came over TLS."""

from __future__ import annotations

import os
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit


def insecure(url: str) -> bool:
    """Whether anybody on the way can change what comes from there."""
    return url.lower().startswith("http:")


def reason(problem: Exception) -> str:
    """Why there was no answer, without the password of a proxy."""
    if isinstance(problem, HTTPError):
        text = f"{problem.code} {problem.reason}"
    elif isinstance(problem, URLError):
        text = str(problem.reason)
    else:
        text = str(problem)
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        credentials = urlsplit(os.environ.get(variable, "")).netloc.rpartition("@")[0]
        for secret in (credentials, credentials.partition(":")[2]):
            for form in (secret, unquote(secret)):
                text = text.replace(form, "***") if form else text
    return text
