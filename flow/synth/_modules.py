"""Which Verilog a module needs: files with the modules inside it, and stubs for those that are mapped in runs of their own."""

import re
from collections.abc import Mapping, Sequence

from flow.core.errors import InvalidInput

COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.S)
MODULE = re.compile(r"^\s*module\s+(\w+)", re.M)
INSTANCE = re.compile(r"\b([A-Za-z_]\w*)\s+(?:#\s*\(|[A-Za-z_]\w*\s*\()")  # a word in front of parameters, or of a name and pins
MEMORY = re.compile(r"\breg\b(\s+signed)?\s*(\[[^\]]*\])?\s*\w+\s*\[")
STUBS = ".stubs.v"  # behind the name of the module that has them inside


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
            todo += [owner[word] for word in _instances(sources[path]) & owner.keys() - stubs.keys()]
    return {**found, **({f"{top}{STUBS}": "".join(stubs.values())} if stubs else {})}


def inside(sources: Mapping[str, str], modules: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Tell which of some modules are inside of each of them, without those that are inside of another one of them.

    Args:
        sources: all Verilog.
        modules: those that are mapped in runs of their own.

    Returns:
        For each module the others that its run leaves out, in the order of `modules`.
    """
    owner = {name: path for path, text in sources.items() for name in MODULE.findall(text)}
    words = {path: _instances(text) & owner.keys() for path, text in sources.items()}
    found = {}
    for top in modules:
        met, seen, todo = set[str](), set[str](), [owner[top]] if top in owner else []
        while todo:
            path = todo.pop()
            if path not in seen:
                seen.add(path)
                met |= words[path]
                todo += [owner[word] for word in words[path] if word == top or word not in modules]
        found[top] = tuple(name for name in modules if name in met and name != top)
    return found


def _instances(text: str) -> set[str]:
    """Return the modules that Verilog has instances of, and some keywords; a port that is called as a module is not one."""
    return set(INSTANCE.findall(COMMENT.sub("", text)))


def has_memory(sources: Mapping[str, str]) -> bool:
    """Tell whether Verilog declares an array of registers."""
    return any(MEMORY.search(COMMENT.sub("", text)) for text in sources.values())


def _stub(text: str, name: str) -> str:
    """Return a module without its inside, or nothing if its ports are not declared in its head."""
    head = re.search(rf"^\s*(module\s+{name}\s*\([^;]*\)\s*;)", COMMENT.sub("", text), re.M)
    return f"{head[1]}\nendmodule\n" if head and re.search(r"\binput\b", head[1]) else ""
