"""Digests of files, folders, code and documents."""

import ast
import hashlib
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from flow.core.errors import MissingInput

PACKAGE = Path(__file__).resolve().parent.parent
IGNORED = ("__pycache__", "README.md", ".toml")


def text_digest(document: object) -> str:
    """Return the SHA-256 of a JSON document in canonical form."""
    return hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _files(path: Path) -> Iterator[Path]:
    yield from sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, or of the names and contents in a folder.

    Raises:
        MissingInput: there is nothing at `path`.
    """
    if not path.exists():
        raise MissingInput(f"{path}: there is no such file or folder.")
    total = hashlib.sha256()
    for file in _files(path):
        with file.open("rb") as stream:
            inner = hashlib.file_digest(stream, "sha256").hexdigest()
        total.update(f"{file.relative_to(path).as_posix()}\0{inner}\n".encode())
    return total.hexdigest()


def _code(file: Path) -> ast.Module:
    """Parse a module and drop its docstrings: words about the code do not change a result."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return tree


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _module_file(name: str) -> Path | None:
    path = PACKAGE.parent.joinpath(*name.split("."))
    return next((f for f in (path.with_suffix(".py"), path / "__init__.py") if f.is_file()), None)


@cache
def _parsed(file: Path) -> tuple[str, tuple[str, ...]]:
    tree = _code(file)
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest(), tuple(_imported(tree))


def code_digests(file: Path) -> dict[str, str]:
    """Return the digest of a module of the package and of every module of the package it reaches by imports.

    Comments and docstrings do not count. The kernel (`flow.core`) does not either: it moves results, it does not make them.
    """
    found: dict[Path, str] = {}
    todo = [file]
    while todo:
        current = todo.pop()
        if current in found or current.is_relative_to(PACKAGE / "core"):
            continue
        found[current], imports = _parsed(current)
        names = [name for name in imports if name.partition(".")[0] == PACKAGE.name]
        todo += [f for f in map(_module_file, names) if f is not None]
    return {p.relative_to(PACKAGE.parent).as_posix(): d for p, d in sorted(found.items())}


def source_digest(path: Path) -> str:
    """Return the digest of a further source: Python code without its words, anything else byte by byte.

    Raises:
        MissingInput: there is nothing at `path`.
    """
    if path.is_file() and path.suffix == ".py":
        if path.is_relative_to(PACKAGE):
            return text_digest(code_digests(path))
        return _parsed(path)[0]
    if path.is_dir() and (path / "network.py").is_file():
        parts = {p.relative_to(path).as_posix(): p for p in _files(path)}
        kept = {name: p for name, p in parts.items() if not any(ignored in name for ignored in IGNORED)}
        return text_digest({name: source_digest(p) if p.suffix == ".py" else digest(p) for name, p in kept.items()})
    return digest(path)
