"""Estimates of C synthesis: ``<module>_csynth.xml``, ``<module>_csynth.rpt``, ``csynth.rpt``, of Vivado HLS and Vitis HLS."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Resources:
    """Counts; None where the report has none.

    Attributes:
        lut: look-up tables.
        ff: flip-flops.
        dsp: DSP blocks, whichever generation (``DSP48E``, ``DSP48E2``, ``DSP58``).
        bram_18k: block RAM in halves of 18 Kibit (``BRAM_18K``); a tile of Vivado, RAMB36, is two of them.
        uram: UltraRAM blocks of 288 Kibit.
    """

    lut: int | None = None
    ff: int | None = None
    dsp: int | None = None
    bram_18k: int | None = None
    uram: int | None = None


@dataclass(frozen=True)
class Csynth:
    """The report of one module. Everything but the path and the module may be absent.

    Attributes:
        path: the file.
        module: name of the module in hardware.
        tool: ``Vivado HLS`` or ``Vitis HLS``.
        version: for example ``2019.2.1``.
        project: name of the HLS project; only text reports have it.
        part: FPGA part as the tool writes it.
        clock_target_ns: period that was asked for, ns.
        clock_estimated_ns: period that the tool estimates before synthesis, ns; without the uncertainty.
        clock_uncertainty_ns: margin that the tool kept, ns.
        latency_min_cycles: best case, clock cycles. A design whose latency depends on data has none.
        latency_max_cycles: worst case, clock cycles.
        interval_min_cycles: smallest initiation interval, clock cycles.
        interval_max_cycles: largest initiation interval, clock cycles.
        used: estimated resources.
        available: resources of the part.
        calls: modules that this one instantiates; only text reports have them.
    """

    path: Path
    module: str
    tool: str | None = None
    version: str | None = None
    project: str | None = None
    part: str | None = None
    clock_target_ns: float | None = None
    clock_estimated_ns: float | None = None
    clock_uncertainty_ns: float | None = None
    latency_min_cycles: int | None = None
    latency_max_cycles: int | None = None
    interval_min_cycles: int | None = None
    interval_max_cycles: int | None = None
    used: Resources = Resources()
    available: Resources = Resources()
    calls: tuple[str, ...] = ()


def read_csynth(path: Path) -> Csynth:
    """Read a report of C synthesis, whichever of its three forms it has.

    Args:
        path: ``*_csynth.xml``, ``csynth.xml``, ``*_csynth.rpt`` or ``csynth.rpt``; what counts is what is in it.

    Raises:
        MissingInput: it is not there.
        InvalidInput: it is something else, too large, cut off or damaged.
    """
    from flow.vendor.reports._csynth_text import read_module, read_summary
    from flow.vendor.reports._csynth_xml import read_profile
    from flow.vendor.reports._source import not_a_report, read_bytes, read_text

    start = read_bytes(path)[:4096].removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith((b"<", b"\xff\xfe", b"\xfe\xff")):
        return read_profile(path)
    text = read_text(path)
    if "HLS Report for '" in text:
        return read_module(path, text)
    if "== Synthesis Summary Report of '" in text:
        return read_summary(path, text)
    if path.name.endswith("csynth.rpt"):
        raise not_a_report(path, "a report of C synthesis", "it has no line \"HLS Report for '...'\", or it is cut off before it")
    raise not_a_report(path, "a report of C synthesis", "it has neither \"HLS Report for '...'\" nor an XML <profile>")
