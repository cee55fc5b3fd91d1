"""Results of simulating the RTL that C synthesis wrote: ``<module>_cosim.rpt``."""

from dataclasses import dataclass
from pathlib import Path

from flow.vendor.reports._source import cut_off, lines_of, not_a_report, printable, read_text
from flow.vendor.reports._tables import Row, cells, whole

_NOT_RUN = "NA"


@dataclass(frozen=True)
class CosimRun:
    """One language. A figure that the tool did not measure (``NA``) is None.

    Attributes:
        language: ``VHDL`` or ``Verilog``.
        status: ``Pass``, ``Fail``, ..., or ``NA``: not run.
        latency_min_cycles: least latency of all transactions, clock cycles.
        latency_avg_cycles: mean, clock cycles, as the tool rounds it.
        latency_max_cycles: most, clock cycles.
        interval_min_cycles: least initiation interval, clock cycles; one transaction has none.
        interval_avg_cycles: mean, clock cycles, as the tool rounds it.
        interval_max_cycles: most, clock cycles.
        total_cycles: clock cycles of the whole simulation; newer tools only.
    """

    language: str
    status: str
    latency_min_cycles: int | None = None
    latency_avg_cycles: int | None = None
    latency_max_cycles: int | None = None
    interval_min_cycles: int | None = None
    interval_avg_cycles: int | None = None
    interval_max_cycles: int | None = None
    total_cycles: int | None = None


@dataclass(frozen=True)
class Cosim:
    """All languages of a report.

    Attributes:
        path: the file.
        runs: one for each language of the table.
    """

    path: Path
    runs: tuple[CosimRun, ...]

    @property
    def run(self) -> CosimRun | None:
        """The language that was simulated; None if the status of all is ``NA``."""
        return next((run for run in self.runs if run.status != _NOT_RUN), None)


def has_cosim(text: str) -> bool:
    """Tell whether there is a table of results."""
    return any(line.startswith("+   RTL    +  Status") for line in lines_of(text))


def read_cosim(path: Path) -> Cosim:
    """Read the table of results, also inside what hls4ml prints.

    Raises:
        MissingInput: it is not there.
        InvalidInput: it is something else, too large, cut off or damaged.
    """
    text = read_text(path)
    if not has_cosim(text):
        why = "it has no table with the columns RTL, Status, Latency and Interval, or it is cut off before it"
        raise not_a_report(path, "a report of co-simulation", why)
    return Cosim(path, tuple(_runs(path, lines_of(text))))


def _runs(path: Path, lines: list[str]) -> list[CosimRun]:
    """Read the rows between the second header and the closing rule, which is the same as the first."""
    title = next(i for i, line in enumerate(lines) if line.startswith("+   RTL    +  Status"))
    rule = lines[title - 2].strip() if title >= 2 else ""
    header = cells(lines[title + 1]) if title + 1 < len(lines) else ()
    if header[2:8] != ("min", "avg", "max") * 2 or not rule.startswith("+-"):
        raise cut_off(path, "the header of the table is not whole")
    rows: list[Row] = []
    for line in map(str.strip, lines[title + 3 :]):
        if line == rule and rows:
            return [CosimRun(row[0], row[1], *(whole(cell) for cell in row[2:9])) for row in rows]
        row = cells(line)
        if len(row) != len(header) or not printable(row[0]) or not printable(row[1]):
            break
        rows.append(row)
    raise cut_off(path, "the table of results is not whole")
