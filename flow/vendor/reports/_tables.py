"""Tables drawn with ``+---+`` and ``|``, and the numbers in their cells."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

Row = tuple[str, ...]
_RULE = re.compile(r"\+[-+]*-\+")
_WHOLE = re.compile(r"[0-9]{1,18}")
_DECIMAL = re.compile(r"[-+]?[0-9]{1,18}(\.[0-9]{1,18})?")
_SHARE = re.compile(r"([0-9]{1,18}) \((~?[0-9]+%)\)")


def whole(cell: str | None) -> int | None:
    """Return a count; None for ``-``, ``NA``, ``undef``, ``?``, ``~0``, ``< 1`` and whatever else is not one."""
    return int(cell) if cell is not None and _WHOLE.fullmatch(cell) else None


def decimal(cell: str | None, unit: str = "") -> float | None:
    """Return a number, with or without its unit behind it; None for whatever else."""
    if cell is None:
        return None
    digits = cell.removesuffix(unit).strip() if unit else cell
    return float(digits) if _DECIMAL.fullmatch(digits) else None


def share(cell: str | None) -> int | None:
    """Return the count of ``39 (17%)`` or of ``39``; None for whatever else."""
    found = _SHARE.fullmatch(cell or "")
    return int(found[1]) if found else whole(cell)


def cells(line: str) -> Row:
    """Return the stripped cells of ``| a | b |``; empty for a line that does not end in ``|``."""
    line = line.strip()
    return tuple(cell.strip() for cell in line[1:-1].split("|")) if len(line) > 1 and line[0] == line[-1] == "|" else ()


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        start: index of the line of its first rule.
        groups: rows between two rules each; the first group is the header, if there is one.
        closed: its last line is a rule like the first.
        damaged: a row has another number of cells than the rule has; of a header, only its last row is asked.
    """

    start: int
    groups: tuple[tuple[Row, ...], ...]
    closed: bool
    damaged: bool

    @property
    def header(self) -> tuple[Row, ...]:
        """Rows of the first group."""
        return self.groups[0] if self.groups else ()

    @property
    def body(self) -> tuple[Row, ...]:
        """Rows of all other groups."""
        return tuple(row for group in self.groups[1:] for row in group)

    @property
    def whole(self) -> bool:
        """Whether nothing of it is missing."""
        return self.closed and not self.damaged


def _table(lines: Sequence[str], start: int) -> tuple[Table, int]:
    """Read the table whose first rule is line ``start``; also return the index behind it."""
    rule = lines[start].strip()
    width = rule.count("+") - 1
    groups: list[list[Row]] = []
    group: list[Row] = []
    index, closed, damaged = start + 1, False, False
    while index < len(lines):
        line = lines[index].strip()
        if line == rule:
            damaged |= not groups and bool(group) and len(group[-1]) != width
            groups.append(group)
            group, closed = [], True
        elif line.startswith("|"):
            closed = False
            group.append(cells(line))
            damaged |= bool(groups) and len(group[-1]) != width
        else:
            break
        index += 1
    if group:
        groups.append(group)
    return Table(start, tuple(tuple(g) for g in groups if g), closed, damaged), index


def tables(lines: Sequence[str]) -> Iterator[Table]:
    """Find all tables."""
    index = 0
    while index < len(lines):
        if _RULE.fullmatch(lines[index].strip()):
            table, index = _table(lines, index)
            yield table
        else:
            index += 1
