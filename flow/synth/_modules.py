"""Which Verilog a module needs: files with the modules inside it, and stubs for those that are mapped in runs of their own."""

import re
from collections.abc import Mapping

from flow.core.errors import InvalidInput

COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.S)
MODULE = re.compile(r"^\s*module\s+(\w+)", re.M)
MEMORY = re.compile(r"\breg\b(\s+signed)?\s*(\[[^\]]*\])?\s*\w+\s*\[")
STUBS = "stubs.v"


def needed(sources: Mapping[str, str], top: str, black_boxes: tuple[str, ...] = ()) -> dict[str, str]:
    """Return the Verilog that a module needs, by relative path.

    Args:
        sources: all Verilog.
        top: the module.
        black_boxes: modules of which only the ports are wanted.

    Raises:
        InvalidInput: no file has the module.
    """
    owner = {name: path for path, text in sources.items() for name in MODULE.findall(text)}
    if top not in owner:
        raise InvalidInput(f"synthesis: no file has a module '{top}'.")
    stubs = {name: stub for name in black_boxes if name in owner and (stub := _stub(sources[owner[name]], name))}
    found: dict[str, str] = {}
    todo = [owner[top]]
    while todo:
        path = todo.pop()
        if path not in found:
            found[path] = sources[path]
            todo += [owner[word] for word in set(re.findall(r"\w+", sources[path])) & owner.keys() - stubs.keys()]
    return {**found, **({STUBS: "".join(stubs.values())} if stubs else {})}


def has_memory(sources: Mapping[str, str]) -> bool:
    """Tell whether Verilog declares an array of registers."""
    return any(MEMORY.search(COMMENT.sub("", text)) for text in sources.values())


def _stub(text: str, name: str) -> str:
    """Return a module without its inside, or nothing if its ports are not declared in its head."""
    head = re.search(rf"^\s*(module\s+{name}\s*\([^;]*\)\s*;)", COMMENT.sub("", text), re.M)
    return f"{head[1]}\nendmodule\n" if head and re.search(r"\binput\b", head[1]) else ""
