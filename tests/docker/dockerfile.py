"""Read a Dockerfile, as far as the project's own needs it."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """One instruction.

    Attributes:
        line: where it begins, from 1.
        kind: RUN, COPY, ...
        text: the rest, continued lines joined.
    """

    line: int
    kind: str
    text: str


def parse(text: str) -> list[Step]:
    """Return the instructions; comments are dropped, also between continued lines.

    >>> parse("# x\\nFROM a\\nRUN b \\\\\\n  # y\\n  && c\\n")
    [Step(line=2, kind='FROM', text='a'), Step(line=3, kind='RUN', text='b && c')]
    """
    steps: list[Step] = []
    parts: list[str] = []
    begun = 0
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        begun = begun if parts else number
        parts.append(line.strip().removesuffix("\\").strip())
        if not line.rstrip().endswith("\\"):
            kind, _, rest = " ".join(parts).partition(" ")
            steps.append(Step(begun, kind.upper(), rest.strip()))
            parts = []
    if parts:
        raise ValueError(f"line {begun}: the last instruction does not end")
    return steps


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Put variables in the place of ``$NAME`` and ``${NAME}``.

    >>> expand("${A}/$B/x", {"A": "1"})
    '1//x'
    """
    return re.sub(r"\$\{?(\w+)\}?", lambda found: variables.get(found[1], ""), text)


def words(text: str) -> list[str]:
    """Split the words of an instruction."""
    return shlex.split(text)
