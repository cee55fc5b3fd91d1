"""All modules of a streaming network, and the top that joins them."""

import re
from dataclasses import dataclass

from flow.rtl.graph import Graph
from flow.stream import templates
from flow.stream.kernel import build as build_kernel
from flow.stream.mac import build_mac
from flow.stream.plan import Element, plan

FIFO = 256


@dataclass(frozen=True)
class Design:
    elements: tuple[Element, ...]
    files: dict[str, str]
    width: int
    out_width: int


def safe(name: str) -> str:
    return re.sub(r"\W", "_", name)


def build(graph: Graph, part: str, clock_ns: float, reuse: dict[str, int] | None = None) -> Design:
    elements = plan(graph)
    files: dict[str, str] = {}
    for e in elements:
        if e.graph is not None:
            factor = (reuse or {}).get(e.name, 1)
            if factor > 1:
                kernel = build_mac(f"a_{e.name}", e.graph, factor, part, clock_ns)
            else:
                kernel = build_kernel(f"k_{e.name}", e.graph, part, clock_ns)
                size = kernel.inputs[0] * kernel.inputs[1].width
                files[f"a_{e.name}.v"] = templates.unrolled(e.name, kernel.latency, size, e.output.width)
            files |= kernel.files
            text = {"window": templates.window, "point": templates.point, "join": templates.join}[e.kind](e)
        else:
            text = {"pad": templates.pad, "gather": templates.gather, "fork": templates.fork}[e.kind](e)
        files[f"{e.name}.v"] = text
    files["network.v"] = _top(elements, files)
    return Design(elements, files, elements[0].source.width, elements[-1].output.width)


def _top(elements: tuple[Element, ...], files: dict[str, str]) -> str:
    first, last = elements[0], elements[-1]
    lines = [templates.HEAD + "module network (\n" + templates.ports(first.source.width, last.output.width) + "\n);"]
    outs = {}
    for e in elements:
        n = e.name
        ways = e.settings.get("ways", 1) if e.settings else 1
        lines.append(f"  wire [{ways - 1}:0] {n}_valid, {n}_ready; wire {n}_sof; wire [{e.output.width - 1}:0] {n}_data;")
    def source(name: str) -> dict[str, str]:
        if name == "":
            return {"valid": "in_valid", "ready": "in_ready", "sof": "in_sof", "data": "in_data"}
        base, _, way = name.rpartition(".") if "." in name else (name, "", "")
        index = f"[{way}]" if way else ""
        return {"valid": f"{base}_valid{index}", "ready": f"{base}_ready{index}", "sof": f"{base}_sof", "data": f"{base}_data"}
    for e in elements:
        n = e.name
        pins = [".clk(clk)", ".rst(rst)"]
        for prefix, name in zip(("a", "b") if e.kind == "join" else ("in",), e.inputs, strict=True):
            s = source(name)
            if e.kind == "join":
                fn = f"{n}_fifo_{prefix}"
                bits = e.settings["types"]["ab".index(prefix)].width * e.output.words
                files[f"{fn}.v"] = templates.fifo(fn, bits, FIFO)
                lines.append(f"  wire {fn}_valid, {fn}_ready, {fn}_sof; wire [{bits - 1}:0] {fn}_data;")
                lines.append(f"  {fn} {fn}_i (.clk(clk), .rst(rst), .in_valid({s['valid']}), .in_ready({s['ready']}), .in_sof({s['sof']}), .in_data({s['data']}), .out_valid({fn}_valid), .out_ready({fn}_ready), .out_sof({fn}_sof), .out_data({fn}_data), .most());")
                s = {k: f"{fn}_{k}" for k in s}
            pins += [f".{prefix}_{k}({v})" for k, v in s.items()]
        pins += [f".out_{k}({n}_{k})" for k in ("valid", "ready", "sof", "data")]
        lines.append(f"  {n} {n}_i ({', '.join(pins)});")
    lines.append(f"  assign out_valid = {last.name}_valid, out_sof = {last.name}_sof, out_data = {last.name}_data, {last.name}_ready = out_ready;")
    return "\n".join([*lines, "endmodule", ""])
