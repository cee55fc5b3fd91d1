"""What the rows of a window wait in, by family and length."""

import pytest

from flow.core.errors import InvalidInput
from flow.rtl.graph import FixedType
from flow.stream.build import build, skeleton, with_queues
from flow.stream.elements import Element, Link
from flow.stream.lines import blocks, memory, memory_of
from flow.stream.plan import plan
from flow.synth._parts import find_part
from tests.stream.networks import CLOCK, NAMED, PART, Net


def window(columns, words, height=3):
    settings = {"height": height, "width": 1, "down": 1, "right": 1, "size": words}
    byte = FixedType(False, 8, 8)
    return Element("w", "window", ("",), Link(9, columns, words, byte), Link(1, 1, 1, byte), None, settings)


@pytest.mark.parametrize(
    ("part", "words", "height", "longest", "style"),
    [
        (PART, 16, 3, 160, "block"),  # 256 bits: 5 x 256 tables and 8 halves of 188 tables each
        (PART, 1, 3, 352, "block"),  # 16 bits: 11 x 16 tables and a half
        ("xcku115-flvb2104-2-i", 16, 3, 128, "block"),
        ("xcu250-figd2104-2L-e", 64, 3, 288, "block"),
        ("lfe5u-85f", 16, 3, 6, "auto"),
        ("lfe5u-85f", 1, 2, 6, "auto"),
    ],
)
def test_long_rows_wait_in_memories(part, words, height, longest, style):
    assert memory_of(window(longest, words, height), find_part(part)) == ""
    assert memory_of(window(longest + 1, words, height), find_part(part)) == style


def test_the_plasma_camera_has_shift_registers():
    assert not any(memory_of(window(columns, words), find_part(PART)) for columns in range(2, 36) for words in range(1, 200, 7))


def test_windows_without_rows_or_columns_that_wait_have_no_memory():
    for part in (PART, "lfe5u-85f"):
        assert memory_of(window(4000, 16, height=1), find_part(part)) == memory_of(window(1, 16), find_part(part)) == ""


def test_half_block_rams():  # by Yosys: the same number of RAMB18E2, or half as many RAMB36E2
    assert [blocks(*size) for size in ((7, 1), (300, 36), (300, 80), (640, 16), (1500, 10), (640, 256))] == [1, 1, 3, 1, 2, 15]


def test_only_windows_of_several_rows_can_be_given_a_memory():
    graph = NAMED["line"]()
    name = next(e.name for e in plan(graph) if e.kind == "window")
    with pytest.raises(InvalidInput, match=f"a memory of '{name}': only windows of several rows and columns .* these are: none"):
        build(graph, PART, CLOCK, memories={name: True})


def test_a_memory_can_be_left_out():
    graph = Net((2, 8, 1)).pool((2, 2), (2, 2)).graph()
    (element,) = plan(graph)
    chosen, other = (build(graph, "lfe5u-85f", 20.0, memories=wanted) for wanted in (None, {element.name: False}))
    assert set(chosen.files) - set(other.files) == {f"{element.name}_lines.v"}
    assert "line0" in other.files[f"{element.name}.v"]
    assert "ram_style" not in chosen.files[f"{element.name}_lines.v"]
    assert 'ram_style = "block"' in memory("m_lines", 8, 4, 1, "block")


def test_deep_queues_of_ecp5_are_memories_whatever_their_depths_are_later():
    graph = Net((2, 8, 1)).pool((2, 2), (2, 2)).graph()
    (element,) = plan(graph)
    design = build(graph, "lfe5u-85f", 20.0)
    for one in (design, skeleton(design, 2)):
        for depth, stored in ((2, False), (3, True)):
            text = with_queues(one, {element.name: depth}).files[f"{element.name}_queue.v"]
            assert (f"memory [0:{depth - 1}]" in text) == stored
    assert "memory" not in build(graph, PART, CLOCK, fifos={element.name: 60}).files[f"{element.name}_queue.v"]
