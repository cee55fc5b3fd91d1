"""The Verilog of hardened designs for the next engineer: a folder for each, and a README."""

from collections.abc import Mapping
from pathlib import Path

from flow.protection.hamming import Bits
from flow.protection.store import TOP, Layout

README = f"""# Hardened designs

Verilog-2001, mapped and simulated with upsets of its flip-flops; the figures are those with `harden_` in the report.

- `tmr_<percent>`, `ecc_<percent>`: weight stores. All deployed bits of weights and biases are at port `bits` of `{TOP}`, bit 0
  the lowest one of the first word; that share of them is triplicated, or under a Hamming code, the most critical ones first. Load: set
  `load` to 1 and give the bits of `stream.mem` (`$readmemb`), one before each rising edge of `clk`, the first line first; then set `load`
  to 0 for good. An upset of a protected bit then never reaches `bits`, and is repaired at the next edge. The stream has the check bits too.
- `registers`: the network with all pipeline registers triplicated; same ports and latency as the network without.
- `clip`: the network with its activations bounded to the range of the training samples; `manifest.json` has its latency.

The unrolled network has its weights in its logic, so a store is not connected to it: it is for designs that load their weights.
"""


def save(folder: Path, files: Mapping[str, str]) -> None:
    """Write files by relative path, and the README beside the folder."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder.parent / "README.md").write_text(README)


def save_store(folder: Path, layout: Layout, bits: Bits) -> None:
    """Write a store and what is shifted into it.

    Args:
        folder: is created.
        layout: the store.
        bits: deployed bits (total,), each 0 or 1.
    """
    save(folder, {**layout.verilog(), "stream.mem": "".join(f"{bit}\n" for bit in layout.stream(bits))})
