"""All modules of a streaming network, and the top that joins them."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from flow.core.errors import DoesNotFit, InvalidInput
from flow.rtl.graph import FixedType, Graph
from flow.rtl.timing import ClockTooFast
from flow.stream import lines, templates
from flow.stream.elements import Element, Link
from flow.stream.kernel import HEAD, Kernel
from flow.stream.kernel import build as build_kernel
from flow.stream.mac import build_mac
from flow.stream.plan import plan
from flow.stream.reuse import cycles
from flow.synth._parts import find_part

TOP = "network"
BIT = FixedType(False, 1, 1)
LEAST_FLIGHT = 16  # frames
REGISTERS = 3  # at most, between the arithmetic of an element and that of the next
Depths = Mapping[str, int]
TEMPLATES: Mapping[str, Callable[[Element], str]] = {
    "window": templates.window, "point": templates.point, "join": templates.join, "pad": templates.pad, "gather": templates.gather,
    "fork": templates.fork,
}  # fmt: skip


@dataclass(frozen=True)
class Design:
    """A streaming network.

    Attributes:
        elements: its modules, in order.
        kernels: the arithmetic of those that have some.
        reuse: cycles of a window by element; 1 where it is not there.
        fifos: pixels that may wait in front of an element, by ``element`` or, of a join, ``element.a`` and ``element.b``.
        files: Verilog by name.
        ring: queues of this depth and more are memories; None: none is.
        flight: frames that may be inside at once, a power of two.
    """

    elements: tuple[Element, ...]
    kernels: Mapping[str, Kernel]
    reuse: Mapping[str, int]
    fifos: Depths
    files: Mapping[str, str]
    ring: int | None = None
    flight: int = LEAST_FLIGHT


def queues(elements: Sequence[Element], reuse: Mapping[str, int]) -> list[str]:
    """Name the places where pixels may have to wait.

    In front of sums of two streams, whose ways are not equally long; of multipliers that are used again (of the gathering before them, for
    its vectors are wide); and of padding inside the network: while its zeros pass, what is before it can go on.
    """
    kinds = {e.name: e.kind for e in elements}
    places = []
    for e in elements:
        if e.kind == "join":
            places += [f"{e.name}.a", f"{e.name}.b"]
        elif e.kind == "pad" and e.inputs[0].partition(".")[0] in kinds:
            places.append(e.name)
        elif reuse.get(e.name, 1) > 1:
            places.append(e.inputs[0] if kinds.get(e.inputs[0]) == "gather" else e.name)
    return places


def build(
    graph: Graph, part: str, clock_ns: float, reuse: Mapping[str, int] | None = None, fifos: Depths | None = None,
    memories: Mapping[str, bool] | None = None, ring: int | None = None,
) -> Design:  # fmt: skip
    """Write a network.

    Args:
        graph: that hls4ml made for io_stream.
        part: FPGA part.
        clock_ns: clock period in ns.
        reuse: cycles of a window by element, or by the layer it begins with.
        fifos: depth of each queue, by place as `queues` names them; those that are left out have none. A network with a sum of two streams
            stops for ever if the shorter one has no queue that is deep enough.
        memories: whether the rows of a window wait in a memory, by element; those that are left out have what the part wants.
        ring: queues of this depth and more are memories; None: those that the part wants.

    Raises:
        InvalidInput: a layer that cannot be streamed, or not with that reuse factor; names it. An element that is not there, or no
            window of several rows.
        DoesNotFit: a clock that no pipeline depth reaches; says the fastest one, and the layer that needs it.
        ConfigError: a part that is not known.
    """
    elements, fifos = _with_lines(plan(graph), part, memories or {}), dict(fifos or {})
    names = {e.layer: e.name for e in elements if e.reusable}
    reuse = {names.get(name, name): factor for name, factor in (reuse or {}).items()}
    _check(elements, reuse, fifos)
    kernels = _kernels(elements, reuse, part, clock_ns)
    files: dict[str, str] = {}
    for e in elements:
        if e.name in kernels:
            kernel = kernels[e.name]
            files |= kernel.files
            if not kernel.steps:
                size = kernel.inputs[0] * kernel.inputs[1].width
                files[f"a_{e.name}.v"] = templates.unrolled(e.name, kernel.latency, size, e.output.width)
    ring = lines.ring_of(find_part(part)) if ring is None else ring
    flight = flight_of(elements, {name: kernel.latency for name, kernel in kernels.items()}, reuse)
    return with_queues(Design(elements, kernels, reuse, {}, files, ring, flight), fifos)


def _kernels(elements: Sequence[Element], reuse: Mapping[str, int], part: str, clock_ns: float) -> dict[str, Kernel]:
    """Make the arithmetic of all elements that have some."""
    kernels, slow = {}, dict[str, float]()
    for e in elements:
        if e.graph is None:
            continue
        try:
            if reuse.get(e.name, 1) > 1:
                kernels[e.name] = build_mac(f"a_{e.name}", e.graph, reuse[e.name], part, clock_ns)
            else:
                kernels[e.name] = build_kernel(f"k_{e.name}", e.graph, part, clock_ns)
        except ClockTooFast as error:
            slow[e.layer] = error.fastest_ns
    if slow:
        worst = max(slow, key=lambda name: slow[name])
        raise DoesNotFit(
            f"hardware.clock_ns = {clock_ns:g}: the slowest single operation of layer '{worst}' is estimated to need {slow[worst]:.2f} ns "
            f"on {part}, registers included, and none is cut in two. Set hardware.clock_ns to {math.ceil(slow[worst] * 100) / 100:g} or "
            "more, or choose a faster part."
        )
    return kernels


def flight_of(elements: Sequence[Element], latencies: Mapping[str, int], reuse: Mapping[str, int]) -> int:
    """Return how many frames must have room inside, so that this alone never makes one wait.

    Those that the pipeline holds when frames come as fast as the slowest element takes them, and one more for each element in front of
    which pixels may wait.

    Args:
        elements: of the network.
        latencies: of the arithmetic in cycles, by element.
        reuse: cycles of a window by element.
    """
    interval = max(cycles(e, reuse.get(e.name, 1)) for e in elements)
    through = sum(latencies.get(e.name, 0) + reuse.get(e.name, 1) + REGISTERS for e in elements)
    return max(LEAST_FLIGHT, 1 << (-(-through // interval) + len(queues(elements, reuse)) + 1).bit_length())


def _with_lines(elements: Sequence[Element], part: str, memories: Mapping[str, bool]) -> tuple[Element, ...]:
    """Note in the settings of windows what their rows wait in."""
    able, target = {e.name for e in elements if lines.possible(e)}, find_part(part)
    if wrong := sorted(name for name, wanted in memories.items() if wanted and name not in able):
        known = ", ".join(sorted(able)) or "none"
        raise InvalidInput(f"a memory of '{wrong[0]}': only windows of several rows and columns have one; these are: {known}.")

    def style(e: Element) -> str:
        chosen = lines.memory_of(e, target)
        return (chosen or lines.style_of(target)) if memories.get(e.name, bool(chosen)) else ""

    return tuple(replace(e, settings={**e.settings, "memory": style(e)}) if e.name in able else e for e in elements)


def _check(elements: Sequence[Element], reuse: Mapping[str, int], fifos: Depths) -> None:
    reusable = {e.name for e in elements if e.reusable}
    for name, factor in reuse.items():
        if factor < 1 or (factor > 1 and name not in reusable):
            known = ", ".join(sorted(reusable)) or "none"
            raise InvalidInput(f"reuse factor {factor} of '{name}': at least 1, and more only for layers with weights; these are: {known}.")
    places = {place for e in elements for place in ([f"{e.name}.a", f"{e.name}.b"] if e.kind == "join" else [e.name])}
    for place, depth in fifos.items():
        if depth < 0 or place not in places:
            raise InvalidInput(f"a queue of {depth} pixels at '{place}': at least 0, in front of one of: {', '.join(sorted(places))}.")


def with_queues(design: Design, fifos: Depths) -> Design:
    """Return a design with these queues instead of those it has."""
    old = {f"{queue_name(place)}.v" for place in design.fifos}
    files = {name: text for name, text in design.files.items() if name not in old}
    return replace(design, fifos=dict(fifos), files=files | _structure(design.elements, fifos, design.ring, design.flight))


def skeleton(design: Design, depth: int) -> Design:
    """Return the handshakes of a design alone: words of one bit, no arithmetic, and queues of that depth everywhere."""
    thin = tuple(
        replace(
            e, source=replace(e.source, type=BIT), output=replace(e.output, type=BIT),
            settings={**e.settings, **({"types": [BIT, BIT], "both": BIT} if e.kind == "join" else {})},
        )
        for e in design.elements
    )  # fmt: skip
    files = {}
    for e in thin:
        if e.name in design.kernels:
            kernel, reuse = design.kernels[e.name], design.reuse.get(e.name, 1)
            size, out = kernel.inputs[0], e.output.width
            if reuse > 1:
                files[f"a_{e.name}.v"] = templates.reused(e.name, reuse, kernel.steps, kernel.latency - kernel.steps - 1, size, out)
            else:
                files[f"a_{e.name}.v"] = templates.unrolled(e.name, kernel.latency, size, out, kernel=False)
    bare = Design(thin, {}, design.reuse, {}, files, design.ring, design.flight)
    return with_queues(bare, dict.fromkeys(queues(thin, design.reuse), depth))


def _structure(elements: Sequence[Element], fifos: Depths, ring: int | None, flight: int) -> dict[str, str]:
    """Write what has no arithmetic: the elements, the queues, the network, and the top."""
    source, output = elements[0].source, elements[-1].output
    files = {f"{e.name}.v": TEMPLATES[e.kind](e) for e in elements}
    for e in elements:
        if style := e.settings.get("memory"):
            name, count = f"{e.name}_lines", e.settings["height"] - 1
            files[f"{name}.v"] = lines.memory(name, e.source.columns, e.source.width, count, style)
        for side, _, link in _inputs(e):
            place = _place(e, side)
            if depth := fifos.get(place):
                memory = ring is not None and depth >= ring
                files[f"{queue_name(place)}.v"] = templates.queue(queue_name(place), link.width, depth, memory)
    files[f"{TOP}.v"] = _network(elements, fifos)
    guard = templates.guard(source.rows, source.columns, source.width, output.rows * output.columns, output.width, TOP, flight)
    return {**files, f"{TOP}_axis.v": guard}


def queue_name(place: str) -> str:
    """Return the module of a queue."""
    return f"{place.replace('.', '_')}_queue"


def _inputs(e: Element) -> list[tuple[str, str, Link]]:
    """Return port, element that is read and stream of each input."""
    if e.kind != "join":
        return [("in", e.inputs[0], e.source)]
    types = e.settings["types"]
    return [(side, name, replace(e.source, type=kept)) for side, name, kept in zip("ab", e.inputs, types, strict=True)]


def _place(e: Element, side: str) -> str:
    return f"{e.name}.{side}" if e.kind == "join" else e.name


def _pins(name: str) -> dict[str, str]:
    """Return the wires of a stream: of the network's input (empty), or of an element, or of one way of a fork."""
    if not name:
        return {key: f"in_{key}" for key in ("valid", "ready", "data")}
    base, _, way = name.partition(".")
    index = f"[{way}]" if way else ""
    return {"valid": f"{base}_valid{index}", "ready": f"{base}_ready{index}", "data": f"{base}_data"}


def _network(elements: Sequence[Element], fifos: Depths) -> str:
    """Write the module that joins the elements and the queues between them."""
    first, last = elements[0], elements[-1]
    lines = [f"{HEAD}module {TOP} (\n{templates.ports(first.source.width, last.output.width)}\n);"]
    for e in elements:
        ways = e.settings["ways"] if e.kind == "fork" else 1
        lines.append(f"  wire [{ways - 1}:0] {e.name}_valid, {e.name}_ready; wire [{e.output.width - 1}:0] {e.name}_data;")
    for e in elements:
        pins = []
        for side, name, link in _inputs(e):
            wires, place = _pins(name), _place(e, side)
            if fifos.get(place):
                queue = queue_name(place)
                lines.append(f"  wire {queue}_valid, {queue}_ready; wire [{link.width - 1}:0] {queue}_data;")
                lines.append(_instance(queue, [*_connect("in", wires), *_connect("out", _pins(queue))]))
                wires = _pins(queue)
            pins += _connect(side, wires)
        lines.append(_instance(e.name, [*pins, *_connect("out", _pins(e.name))]))
    out = _pins(last.name)
    lines.append(f"  assign out_valid = {out['valid']}, out_data = {out['data']}, {out['ready']} = out_ready;")
    return "\n".join([*lines, "endmodule", ""])


def _connect(side: str, wires: Mapping[str, str]) -> list[str]:
    return [f".{side}_{key}({wire})" for key, wire in wires.items()]


def _instance(module: str, pins: Sequence[str]) -> str:
    return f"  {module} {module}_i (.clk(clk), .rst(rst), {', '.join(pins)});"
