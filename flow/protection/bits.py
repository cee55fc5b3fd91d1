"""Weight stores with the most critical bits protected: what they cost, what they buy, and a campaign of upsets that checks it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flow.core.errors import MismatchError
from flow.core.stage import Job
from flow.protection import worth
from flow.protection.criticality import Criticality
from flow.protection.faults import prove, store_circuit, strike
from flow.protection.folder import save_store
from flow.protection.hamming import Bits, Ints
from flow.protection.mapping import Mapped, design, map_design, times
from flow.protection.store import BARE, ECC, TOP, Layout, cell
from flow.robustness._bits import BitSpace
from flow.robustness._subject import Subject, Values
from flow.statistics import mean_interval
from flow.synth._plan import Counts

GROUPS = (11, 26, 57)  # data bits for which 4, 5 and 6 check bits are just enough
UPSETS = 1000
Records = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Stores:
    """Stores of one method with more and more bits protected."""

    method: str
    layouts: Sequence[Layout]
    mapped: Mapping[str, Mapped]

    def price(self, layout: Layout) -> Counts:
        """Return what a store takes more than a bare one."""
        bare = self.mapped[BARE].report.total
        total = Counts(lut=-bare.lut * layout.total, ff=-bare.ff * layout.total, lut6_packed=_packed(bare, -layout.total))
        for name, number in layout.modules.items():
            total += times(self.mapped[name].report.total, number)
        return total


def _packed(counts: Counts, number: int) -> int | None:
    return times(counts, number).lut6_packed


def deployed(space: BitSpace) -> Bits:
    """Return the deployed bits (B,), each 0 or 1."""
    word, place = space.locate(np.arange(space.total, dtype=np.int64))
    return (space.words[word] >> place & 1).astype(np.uint8)


def stores(job: Job, method: str, order: Ints, shares: Sequence[float]) -> Stores:
    """Lay stores out, the first bits of an order protected, and map the modules that they are made of."""
    mapped = partial(_cell, job)
    group = 0 if method == "tmr" else min(GROUPS, key=lambda k: mapped(f"{ECC}{k}").report.total.lut / k)
    total, size = len(order), max(1, group)
    counts = [min(total, max(1, round(share * total / size)) * size) for share in shares]
    layouts = [Layout(total, order[: total if share == 1 else count], group) for share, count in zip(shares, counts, strict=True)]
    names = sorted({BARE, *(name for layout in layouts for name in layout.modules)})
    return Stores(method, layouts, {name: mapped(name) for name in names})


def _cell(job: Job, name: str) -> Mapped:
    return map_design(job, name, {f"{name}.v": cell(name)}, design(name))


def measure(job: Job, method: str, subject: Subject, found: Criticality, shares: Sequence[float], network: Counts, tool: str) -> Records:
    """Measure ``harden_<method>_*`` and return what the report draws.

    Args:
        job: records the metrics.
        method: ``tmr`` or ``ecc``.
        subject: the network.
        found: its criticality map.
        shares: of the deployed bits.
        network: resources of the unprotected network.
        tool: who counted them.

    Raises:
        MismatchError: the mapped store does not do what its Verilog says, or an upset does another harm than the map says.
    """
    space, rng = subject.space(), job.rng(job.point.data.seed, method)
    made = stores(job, method, worth.critical_first(found.harm), shares)
    places = {name: prove(mapped.modules, name, rng) for name, mapped in made.mapped.items()}
    prices = [made.price(layout) for layout in made.layouts]
    records = _records(method, space, found, made, prices)
    part = job.point.hardware.part
    for i, (layout, price) in enumerate(zip(made.layouts, prices, strict=True)):
        percent, words = f"{100 * shares[i]:g}", _words(layout)
        for key, value, unit, title in (
            ("lut", price.lut, "LUT", "Look-up tables"), ("lut6_packed", price.lut6_packed, "LUT6", "Look-up tables, packed in pairs"),
            ("ff", price.ff, "FF", "Flip-flops"),
        ):  # fmt: skip
            if value is not None:
                job.measure(
                    f"harden_{method}_{key}_{percent}", value, unit, kind="mapped", direction="lower", part=part,
                    source=f"{tool}, modules of the store times their number, less the bare store", title=f"{title} for {words}",
                )  # fmt: skip
        if network.lut:
            job.measure(
                f"harden_{method}_lut_percent_{percent}", 100 * price.lut / network.lut, "%", kind="mapped", direction="lower", part=part,
                source=tool, title=f"Look-up tables for {words}, share of the network's",
            )  # fmt: skip
        save_store(job.output("hardened_rtl") / f"{method}_{percent}", layout, deployed(space))
        _measure_left(job, f"harden_{method}_{{}}_{percent}", records, method, i, subject, found, words)
    _campaign(job, method, subject, found, made, places, rng)
    return records


def _words(layout: Layout) -> str:
    how = f"in Hamming codes of {layout.group} bits" if layout.group else "triplicated"
    return f"{100 * len(layout.protected) / layout.total:.3g} % of bits {how}"


def _measure_left(
    job: Job, name: str, records: Records, method: str, i: int, subject: Subject, found: Criticality, words: str
) -> None:  # fmt: skip
    source = f"all {len(found.harm)} bits, {found.samples} samples; for each upset of the bare store"
    for key, unit, title in (
        ("visible", "%", "Visible errors left"), ("degradation", subject.score.unit, f"{subject.score.title} degradation left"),
    ):  # fmt: skip
        value = float(records[f"harden_{method}_{key}"][i])
        job.measure(name.format(key), value, unit, direction="lower", source=source, title=f"{title}, {words}")


def _records(method: str, space: BitSpace, found: Criticality, made: Stores, prices: Sequence[Counts]) -> Records:
    counts = [len(layout.protected) for layout in made.layouts]
    word, place = space.locate(np.arange(space.total, dtype=np.int64))
    orders: dict[str, Callable[[Values], Values]] = {
        "": lambda v: worth.remaining(v, worth.critical_first(found.harm), counts),
        "_random": lambda v: worth.by_level(v, np.zeros(space.total, np.int64), counts),
        "_msb": lambda v: worth.by_level(v, space.widths[word] - 1 - place, counts),
    }
    records: Records = {
        f"harden_{method}_share": np.array(counts) / space.total,
        f"harden_{method}_lut": np.array([price.lut for price in prices]), f"harden_{method}_ff": np.array([price.ff for price in prices]),
    }  # fmt: skip
    if all(price.lut6_packed is not None for price in prices):
        records[f"harden_{method}_lut6_packed"] = np.array([price.lut6_packed for price in prices])
    for suffix, left in orders.items():
        records[f"harden_{method}_visible{suffix}"] = 100 * left(found.visible)
        records[f"harden_{method}_degradation{suffix}"] = left(found.harm)
    return records


def _campaign(
    job: Job, method: str, subject: Subject, found: Criticality, made: Stores, places: Mapping[str, Mapping[str, int]],
    rng: np.random.Generator,
) -> None:  # fmt: skip
    """Upset random flip-flops of one whole mapped store, and score the words that it then gives."""
    space, layout = subject.space(), made.layouts[0]
    mapped = map_design(job, f"{TOP}_{method}", layout.verilog(), design(TOP, tuple(sorted(layout.modules))))
    job.progress(0.6, f"{UPSETS} upsets of the whole store")
    circuit = store_circuit(mapped.modules)
    place, bits = space.locate(np.arange(space.total, dtype=np.int64))[1], deployed(space)
    hit = rng.integers(0, layout.cells, UPSETS)
    clean, struck = strike(circuit, layout, places, bits, hit)
    if len(circuit.registers) != layout.cells or not np.array_equal(clean, bits.astype(bool)):
        raise MismatchError(f"protection: the mapped store ({method}) does not give the words that it holds.")
    changed = np.flatnonzero((struck != clean).any(axis=1))
    harm, expected = np.zeros(UPSETS), np.zeros(UPSETS)
    if len(changed):
        patterns = np.add.reduceat(struck[changed].astype(np.int64) << place, space.first, axis=1)
        harm[changed] = subject.degradations(space, space.value(patterns), found.samples).mean(axis=1)
        expected[changed] = found.harm[(struck != clean)[changed].argmax(axis=1)]
    wrong = np.flatnonzero(~np.isclose(harm, expected, rtol=1e-6, atol=1e-9))
    if len(wrong):
        at = int(wrong[0])
        raise MismatchError(f"protection: an upset in the store ({method}) costs {harm[at]:g}, by the single-bit map {expected[at]:g}.")
    scale = layout.cells / space.total  # upsets of this store for each one of the bare store
    source = f"{UPSETS} upsets of random flip-flops of the mapped store, simulated; {found.samples} samples"
    share, share_ci = worth.share((struck != clean) @ found.visible > 0)
    mean, ci = mean_interval(scale * harm)
    words = f"{_words(layout)}, campaign"
    for key, value, interval, unit, title in (
        ("visible", scale * share, (scale * share_ci[0], scale * share_ci[1]), "%", "Visible errors"),
        ("degradation", mean, ci, subject.score.unit, f"{subject.score.title} degradation"),
    ):  # fmt: skip
        job.measure(
            f"harden_{method}_campaign_{key}", value, unit, direction="lower", ci=interval, source=source, title=f"{title} left, {words}"
        )
