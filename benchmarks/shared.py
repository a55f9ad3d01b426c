"""Puts on the path what the benchmarks share with the tests, the services and the plugins."""

import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path += [str(REPOSITORY / directory) for directory in ("tests", "services", "plugins/module_utils")]
