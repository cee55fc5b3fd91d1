"""All modules of a streaming network, and the top that joins them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from flow.rtl.graph import FixedType, Graph
from flow.stream import templates
from flow.stream.kernel import Kernel
from flow.stream.kernel import build as build_kernel
from flow.stream.mac import build_mac, marks, steps_of
from flow.stream.plan import Element, Link, plan

TOP = "network"
BIT = FixedType(False, 1, 1)


@dataclass(frozen=True)
class Design:
    """A streaming network.

    Attributes:
        elements: its modules, in order.
        kernels: the arithmetic of those that have some.
        reuse: cycles of a window by element; 1 where it is not there.
        fifos: pixels that may wait in front of an element, by ``element`` or, of a join, ``element.a`` and ``element.b``.
        files: Verilog by name.
    """

    elements: tuple[Element, ...]
    kernels: Mapping[str, Kernel]
    reuse: Mapping[str, int]
    fifos: Mapping[str, int]
    files: Mapping[str, str]


def queues(elements: tuple[Element, ...], reuse: Mapping[str, int]) -> list[str]:
    """Name the places where pixels may have to wait: in front of sums of two streams and of multipliers that are used again."""
    places = []
    for e in elements:
        places += [f"{e.name}.a", f"{e.name}.b"] if e.kind == "join" else [e.name] if reuse.get(e.name, 1) > 1 else []
    return places


def build(graph: Graph, part: str, clock_ns: float, reuse: Mapping[str, int] | None = None, fifos: Mapping[str, int] | None = None) -> Design:
    """Write a network.

    Args:
        graph: that hls4ml made for io_stream.
        part: FPGA part.
        clock_ns: clock period.
        reuse: cycles of a window by layer.
        fifos: depth of each queue; those that are left out have none.

    Raises:
        InvalidInput: a layer that cannot be streamed; names it.
    """
    elements, reuse, fifos = plan(graph), dict(reuse or {}), dict(fifos or {})
    files: dict[str, str] = {}
    kernels = {}
    for e in elements:
        if e.graph is None:
            continue
        if reuse.get(e.name, 1) > 1:
            kernel = build_mac(f"a_{e.name}", e.graph, reuse[e.name], part, clock_ns)
        else:
            kernel = build_kernel(f"k_{e.name}", e.graph, part, clock_ns)
            files[f"a_{e.name}.v"] = templates.unrolled(e.name, kernel.latency, kernel.inputs[0] * kernel.inputs[1].width, e.output.width)
        files |= kernel.files
        kernels[e.name] = kernel
    files |= _structure(elements, fifos)
    return Design(elements, kernels, reuse, fifos, files)


def skeleton(design: Design, depth: int) -> Design:
    """Return the handshakes of a design alone: words of one bit, no arithmetic, and queues so deep that none is ever full."""
    thin = tuple(
        replace(
            e, source=_thin(e.source), output=_thin(e.output),
            settings={**(e.settings or {}), **({"types": [BIT, BIT], "both": BIT} if e.kind == "join" else {})},
        )
        for e in design.elements
    )  # fmt: skip
    files = {}
    for e in thin:
        if e.name in design.kernels:
            kernel, reuse = design.kernels[e.name], design.reuse.get(e.name, 1)
            size = kernel.inputs[0]
            if reuse > 1:
                steps = steps_of(-(-size // reuse))
                text = templates.reused(e.name, marks(reuse, steps, kernel.latency - steps - 1), size, e.output.width)
            else:
                text = templates.unrolled(e.name, kernel.latency, size, e.output.width, kernel=False)
            files[f"a_{e.name}.v"] = text
    fifos = dict.fromkeys(queues(thin, design.reuse), depth)
    return Design(thin, {}, design.reuse, fifos, files | _structure(thin, fifos))


def _thin(link: Link) -> Link:
    return replace(link, words=link.words, type=BIT)


def _structure(elements: tuple[Element, ...], fifos: Mapping[str, int]) -> dict[str, str]:
    files = {}
    make = {"window": templates.window, "point": templates.point, "join": templates.join, "pad": templates.pad, "gather": templates.gather,
            "fork": templates.fork}  # fmt: skip
    for e in elements:
        files[f"{e.name}.v"] = make[e.kind](e)
    files[f"{TOP}.v"] = _top(elements, fifos, files)
    source, output = elements[0].source, elements[-1].output
    files[f"{TOP}_axis.v"] = templates.guard(
        source.rows, source.columns, source.width, output.rows * output.columns, output.width, TOP
    )  # fmt: skip
    return files


def queue_name(place: str) -> str:
    """Return the module of a queue."""
    return f"{place.replace('.', '_')}_queue"


def _pins(name: str) -> dict[str, str]:
    """Return the wires of a stream: of the network's input (empty), or of an element, or of one way of a fork."""
    if not name:
        return {key: f"in_{key}" for key in ("valid", "ready", "data")}
    base, _, way = name.partition(".")
    index = f"[{way}]" if way else ""
    return {"valid": f"{base}_valid{index}", "ready": f"{base}_ready{index}", "data": f"{base}_data"}


def _top(elements: tuple[Element, ...], fifos: Mapping[str, int], files: dict[str, str]) -> str:
    first, last = elements[0], elements[-1]
    lines = [f"{templates.HEAD}module {TOP} (\n{templates.ports(first.source.width, last.output.width)}\n);"]
    for e in elements:
        ways = e.settings["ways"] if e.kind == "fork" else 1
        lines.append(f"  wire [{ways - 1}:0] {e.name}_valid, {e.name}_ready; wire [{e.output.width - 1}:0] {e.name}_data;")
    for e in elements:
        pins = [".clk(clk)", ".rst(rst)"]
        join = e.kind == "join"
        for side, name in zip(("a", "b") if join else ("in",), e.inputs, strict=True):
            wires, place = _pins(name), f"{e.name}.{side}" if join else e.name
            if fifos.get(place):
                bits = e.settings["types"]["ab".index(side)].width * e.output.words if join else e.source.width
                queue = queue_name(place)
                files[f"{queue}.v"] = templates.queue(queue, bits, fifos[place])
                lines.append(f"  wire {queue}_valid, {queue}_ready; wire [{bits - 1}:0] {queue}_data;")
                lines.append(_instance(queue, [".clk(clk)", ".rst(rst)", *_connect("in", wires), *_connect("out", _pins(queue))]))
                wires = _pins(queue)
            pins += _connect(side, wires)
        lines.append(_instance(e.name, [*pins, *_connect("out", _pins(e.name))]))
    out = _pins(last.name)
    lines.append(f"  assign out_valid = {out['valid']}, out_data = {out['data']}, {out['ready']} = out_ready;")
    return "\n".join([*lines, "endmodule", ""])


def _connect(side: str, wires: Mapping[str, str]) -> list[str]:
    return [f".{side}_{key}({wire})" for key, wire in wires.items()]


def _instance(module: str, pins: list[str]) -> str:
    return f"  {module} {module}_i ({', '.join(pins)});"


def safe(name: str) -> str:
    """Return a name that Verilog takes."""
    return re.sub(r"\W", "_", name)
