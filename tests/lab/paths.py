"""Where the lab keeps what it makes: outside the work tree, so that a clean checkout builds nothing twice."""

from __future__ import annotations

import os
from pathlib import Path

LAB = Path(__file__).parent
REPOSITORY = LAB.parents[1]
INVENTORY = LAB / "inventory.yml"

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "courseload" / "lab"
CONTAINERS_CONF = CACHE / "containers.conf"
SSH = CACHE / "ssh"
