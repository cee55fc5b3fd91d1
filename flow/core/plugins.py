"""Plug-ins by module name: no registry, no decorator, no import side effect."""

import difflib
import importlib
import importlib.metadata
import importlib.util
import pkgutil
from pathlib import Path
from types import ModuleType

from flow.core.errors import UnknownPlugin


def suggest(given: str, known: list[str]) -> str:
    """Return `` Did you mean 'x'?`` or nothing."""
    close = difflib.get_close_matches(given, known, n=1)
    return f" Did you mean '{close[0]}'?" if close else ""


def names(group: str) -> list[str]:
    """List the ids of a group: modules of ``flow.<group>`` and entry points ``hlscape.<group>``."""
    package = importlib.import_module(f"flow.{group}")
    inside = [m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_")]
    outside = [e.name for e in importlib.metadata.entry_points(group=f"hlscape.{group}")]
    return sorted({*inside, *outside})


def check(group: str, name: str) -> None:
    """Refuse an id that is not in the group.

    Raises:
        UnknownPlugin: with the list of what there is.
    """
    known = names(group)
    if name not in known:
        raise UnknownPlugin(f"'{name}' is not one of the {group}: {', '.join(known)}.{suggest(name, known)}")


def file_of(group: str, name: str) -> Path:
    """Return the file of a plug-in; those of the package are not imported for it, so planning stays fast.

    Raises:
        UnknownPlugin: there is none of that name.
    """
    check(group, name)
    spec = importlib.util.find_spec(f"flow.{group}.{name}")
    return Path((spec.origin if spec else load(group, name).__file__) or "")


def load(group: str, name: str) -> ModuleType:
    """Import one plug-in.

    Raises:
        UnknownPlugin: there is none of that name.
    """
    check(group, name)
    for entry in importlib.metadata.entry_points(group=f"hlscape.{group}", name=name):
        module = entry.load()
        if isinstance(module, ModuleType):
            return module
    return importlib.import_module(f"flow.{group}.{name}")
