"""Loads a module or plugin of plugins/ by its file, and what these share by its name, as Ansible does."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType

import ansible.module_utils

from helpers.machine import REPOSITORY

ansible.module_utils.__path__.append(str(REPOSITORY / "plugins/module_utils"))


def load(kind: str, name: str) -> ModuleType:
    """The plugin `name` of a kind: modules, filter, action or lookup."""
    unique = f"plugins_{kind}_{name}"
    spec = importlib.util.spec_from_file_location(unique, REPOSITORY / f"plugins/{kind}/{name}.py")
    assert spec
    assert spec.loader
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[unique] = loaded  # where dataclasses look for it
    spec.loader.exec_module(loaded)
    return loaded


def shared(name: str) -> ModuleType:
    """A file of module_utils as the modules have it, which is not the same object as `courseload.name`."""
    return importlib.import_module(f"ansible.module_utils.courseload.{name}")
