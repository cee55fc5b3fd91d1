"""Line buffers of windows in a memory instead of shift registers, and when that is the better choice.

A Xilinx look-up table holds 32 bits of a shift register; ECP5 has no such thing and would take a flip-flop for each bit.
"""

from flow.stream.elements import Element
from flow.stream.kernel import HEAD
from flow.synth._parts import Part

SRL = 32  # bits of a shift register in a look-up table
FEW = 6  # columns up to which a memory takes more tables than it saves flip-flops, where tables are no shift registers
RING = 3  # pixels of a queue from which on flip-flops and their tap take more than a memory
ROWS, WIDEST, DEEPEST = 512, 36, 16384  # of half a Xilinx block RAM, 18 kbit, at its widest; words of half the bits make twice the rows


def possible(e: Element) -> bool:
    """Tell whether a window has rows that wait, and columns by which a memory can be addressed."""
    return e.kind == "window" and e.settings["height"] > 1 and e.source.columns > 1


def memory_of(e: Element, part: Part) -> str:
    """Choose what the rows of a window wait in.

    Xilinx: the one of which a smaller share of the part is taken, look-up tables as shift registers or halves of block RAMs. ECP5: a
    memory from seven columns on; synthesis chooses between distributed and block RAM.

    Args:
        e: a window.
        part: target.

    Returns:
        The style of the memory, ``block`` or ``auto``, or ``""``: shift registers.
    """
    if not possible(e):
        return ""
    size, columns = (e.settings["height"] - 1) * e.source.width, e.source.columns
    if part.family == "ecp5":
        return style_of(part) if columns > FEW else ""
    tables, halves = size * -(-columns // SRL), blocks(columns, size)
    return style_of(part) if halves / (2 * part.bram) < tables / part.lut else ""


def style_of(part: Part) -> str:
    """Return the style of a part's memories: where tables are shift registers, a memory is worth it in block RAM only."""
    return "auto" if part.family == "ecp5" else "block"


def ring_of(part: Part) -> int | None:
    """Return from which depth on a queue is a memory: never, where tables are shift registers."""
    return RING if part.family == "ecp5" else None


def blocks(columns: int, size: int) -> int:
    """Return how many halves of Xilinx block RAMs hold `columns` words of `size` bits."""
    rows = max(ROWS, 1 << (columns - 1).bit_length())
    return -(-rows // DEEPEST) * -(-size // max(1, WIDEST * ROWS // rows))


def memory(name: str, columns: int, size: int, lines: int, style: str) -> str:
    """Write the memory of a window's rows: the word of a column has the pixels of that column in the last `lines` rows.

    The next column is read while this one is written, so the two never meet; a read that is a cycle early is a register of the memory.

    Args:
        name: of the module.
        columns: of the image, at least 2.
        size: bits of a pixel.
        lines: rows that wait.
        style: ``block``, or ``auto``: synthesis chooses.
    """
    cb, all_bits = (columns - 1).bit_length(), size * lines
    older = f"{{word[{size * (lines - 1) - 1}:0], in_data}}" if lines > 1 else "in_data"
    attribute = '(* ram_style = "block" *) ' if style == "block" else ""
    return f"""{HEAD}module {name} (
  input clk, input go, input [{cb - 1}:0] c, input [{size - 1}:0] in_data, output [{all_bits - 1}:0] out_data
);
  {attribute}reg [{all_bits - 1}:0] memory [0:{columns - 1}];
  reg [{all_bits - 1}:0] word;
  assign out_data = word;
  wire [{cb - 1}:0] next = (c == {cb}'d{columns - 1}) ? {cb}'d0 : c + {cb}'d1;
  always @(posedge clk) if (go) begin
    memory[c] <= {older};
    word <= memory[next];
  end
endmodule
"""
