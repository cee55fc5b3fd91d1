"""How values lie in the ports of the generated Verilog. Needs numpy only, so that users can pack words without the tools."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flow.core.errors import InvalidInput, MissingInput

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Word:
    """One element of a port.

    Attributes:
        offset: position of its least significant bit in the port.
        width: bits.
        fraction: bits right of the binary point: value = code * 2**-fraction.
        signed: two's complement.
    """

    offset: int
    width: int
    fraction: int
    signed: bool


@dataclass(frozen=True)
class Port:
    """A port of packed words; the words are in the order of the flattened array, channels last, element 0 at bit 0."""

    name: str
    width: int
    words: tuple[Word, ...]

    def codes(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        """Turn values into integer codes.

        Args:
            values: (N, ...) with as many elements a sample as there are words.

        Returns:
            (N, words).

        Raises:
            InvalidInput: a value that a word cannot hold exactly, or a wrong number of elements.
        """
        flat = np.asarray(values, np.float64).reshape(len(values), -1)
        if flat.shape[1] != len(self.words):
            raise InvalidInput(f"port {self.name} has {len(self.words)} words, the data {flat.shape[1]} elements a sample.")
        scaled = np.ldexp(flat, self._fractions())
        codes = np.rint(scaled).astype(np.int64)
        low, high = self._limits()
        wrong = (codes != scaled) | (codes < low) | (codes > high)
        if wrong.any():
            sample, word = (int(i) for i in np.argwhere(wrong)[0])
            raise InvalidInput(f"port {self.name}: {flat[sample, word]} of sample {sample} cannot be held by {self.words[word]}.")
        return codes

    def pack(self, values: NDArray[np.float64]) -> Bytes:
        """Pack values.

        Args:
            values: as for `codes`.

        Returns:
            (N, bytes) with the port's bit k at bit k % 8 of byte k // 8.

        Raises:
            InvalidInput: as `codes`.
        """
        codes = self.codes(values)
        bits = np.zeros((len(codes), -(-self.width // 8) * 8), np.uint8)
        for i, word in enumerate(self.words):
            bits[:, word.offset : word.offset + word.width] = codes[:, i : i + 1] >> np.arange(word.width) & 1
        return np.packbits(bits, axis=1, bitorder="little")

    def unpack_codes(self, packed: Bytes) -> NDArray[np.int64]:
        """Read integer codes: (N, at least as many bytes as `pack` gives) -> (N, words)."""
        bits = np.unpackbits(packed, axis=1, bitorder="little")
        out = np.empty((len(packed), len(self.words)), np.int64)
        for i, word in enumerate(self.words):
            weights = np.left_shift(1, np.arange(word.width, dtype=np.int64))
            if word.signed and word.width:
                weights[-1] = -weights[-1]
            out[:, i] = bits[:, word.offset : word.offset + word.width].astype(np.int64) @ weights
        return out

    def unpack(self, packed: Bytes) -> NDArray[np.float64]:
        """Read values: (N, bytes) -> (N, words)."""
        return np.ldexp(self.unpack_codes(packed).astype(np.float64), -self._fractions())

    def hex_lines(self, packed: Bytes) -> str:
        """Write packed words for ``$readmemh``: one line a sample, most significant digit first."""
        digits = -(-self.width // 4)
        return "".join(f"{bytes(row[::-1]).hex()[-digits:]}\n" for row in packed)

    def _fractions(self) -> NDArray[np.int64]:
        return np.array([w.fraction for w in self.words], np.int64)

    def _limits(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        ranges = [(-(1 << w.width - 1) if w.signed else 0, (1 << w.width - w.signed) - 1) for w in self.words]
        return np.array([r[0] for r in ranges], np.int64), np.array([r[1] for r in ranges], np.int64)


@dataclass(frozen=True)
class Manifest:
    """What one needs to know about a folder of generated Verilog.

    Attributes:
        top: top module.
        clock: name of the clock port; there is no reset and no valid signal.
        latency: rising clock edges from an input at the port to its result at the port, as designed.
        interval: cycles between two inputs.
        input: input port.
        output: output port.
        sources: Verilog files in the folder, relative.
        stages: combinational modules, one a pipeline stage.
        output_layer: name of the network's last layer.
        generator: program that wrote the Verilog, with its version.
        stage_delays_ns: estimated delay of each pipeline stage, clock to clock; empty when the part has no delay model.
        delay_model: what the delays were estimated with.
        io: ``parallel``, a sample a cycle without handshake; or ``stream``, AXI4-Stream with one pixel a transfer. Of a stream `input` and
            `output` are one pixel each, `latency` counts from the first pixel of a frame to its last result, `interval` from one frame to
            the next, and `stages` are the modules that are mapped alone.
        frame: rows and columns of a frame that comes in.
        result: rows and columns of its result.
        reuse: cycles for which the multipliers of an element are used for a window, by element; 1 where it is not there.
        queues: pixels that may wait, by the place in front of an element.
    """

    top: str
    clock: str
    latency: int
    interval: int
    input: Port
    output: Port
    sources: tuple[str, ...]
    stages: tuple[str, ...]
    output_layer: str
    generator: str
    stage_delays_ns: tuple[float, ...] = ()
    delay_model: str = ""
    io: str = "parallel"
    frame: tuple[int, int] = (1, 1)
    result: tuple[int, int] = (1, 1)
    reuse: Mapping[str, int] = field(default_factory=dict)
    queues: Mapping[str, int] = field(default_factory=dict)

    def pack_inputs(self, x: NDArray[np.float64]) -> Bytes:
        """Pack whole samples (N, ...), channels last: a row each, or of a stream a row for each pixel; see `Port.pack`."""
        return self.input.pack(x.reshape(len(x) * self.frame[0] * self.frame[1], -1))

    def pack_outputs(self, y: NDArray[np.float64]) -> Bytes:
        """Pack results (N, outputs) as `pack_inputs` packs samples."""
        return self.output.pack(y.reshape(len(y) * self.result[0] * self.result[1], -1))

    def save(self, path: Path) -> None:
        """Write ``manifest.json``."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> "Manifest":
        """Read what `save` wrote.

        Raises:
            MissingInput: there is no such file.
            InvalidInput: it is damaged.
        """
        if not path.is_file():
            raise MissingInput(f"{path}: there is no such file. Run the stage that writes the Verilog.")
        try:
            document: dict[str, Any] = json.loads(path.read_text())
            document |= {k: _port(document[k]) for k in ("input", "output")}
            document |= {k: tuple(map(str, document[k])) for k in ("sources", "stages")}
            document |= {k: tuple(map(int, document[k])) for k in ("frame", "result") if k in document}
            document["stage_delays_ns"] = tuple(map(float, document.get("stage_delays_ns", ())))
            return cls(**document)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidInput(f"{path}: this is not a manifest ({type(error).__name__}: {error}). Generate the Verilog again.") from None


def _port(document: Mapping[str, Any]) -> Port:
    return Port(document["name"], int(document["width"]), tuple(Word(**w) for w in document["words"]))
