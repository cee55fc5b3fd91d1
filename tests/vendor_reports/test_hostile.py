"""Files that are cut off, damaged, foreign, gigantic or malicious: a typed error or absent values, never a wrong figure."""

import os
from dataclasses import fields, is_dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flow.core.errors import InvalidInput, MissingInput
from flow.vendor.reports import read_csynth, read_project
from flow.vendor.reports._source import MOST_BYTES
from flow.vendor.reports.project import Project
from tests.vendor_reports.reports import ALL, DATA, READERS

READ_ALL = list(dict.fromkeys([*READERS.values(), read_project]))
NAMES = [path.name for path in ALL]


def contradictions(whole, part):
    """Return what a part of a report says otherwise than the whole; a value that is absent says nothing."""
    if part is None or part in ("", ()) or whole == part:
        return []
    if isinstance(part, tuple) and not is_dataclass(part) and set(part) <= set(whole):
        return []
    if is_dataclass(part) and type(whole) is type(part):
        return [c for f in fields(part) if f.name != "path" for c in contradictions(getattr(whole, f.name), getattr(part, f.name))]
    return [(whole, part)]


@pytest.mark.parametrize("name", NAMES)
def test_no_cut_gives_a_wrong_figure(tmp_path, name):
    """Cut at every third byte, so within each number of three digits and at each border of two."""
    data, read = (DATA / name).read_bytes(), ALL[DATA / name]
    whole, path = read(DATA / name), tmp_path / name
    path.write_bytes(data)
    complete = 0
    for length in sorted({*range(0, len(data), 3), len(data) - 1}, reverse=True):
        os.truncate(path, length)
        try:
            part = read(path)
        except InvalidInput as error:
            assert str(path) in str(error)
        else:
            complete += 1
            assert contradictions(whole, part) == [], f"cut at byte {length} of {len(data)}"
    assert complete < len(data) / 3, "the figures themselves were cut off, and it was seen"


def test_the_check_of_cuts_sees_a_wrong_figure(tmp_path):
    path = tmp_path / "net2022_csynth.xml"
    path.write_text((DATA / path.name).read_text().replace("<LUT>45006<", "<LUT>4500<"))
    assert contradictions(read_csynth(DATA / path.name), read_csynth(path)) == [(45006, 4500)]


@pytest.mark.parametrize("name", ["net2016_csynth.rpt", "net2024_export.rpt", "net2024_timing_summary_routed.rpt", "vivado_synth.rpt"])
def test_a_cut_says_what_is_missing(tmp_path, name):
    data, path = (DATA / name).read_bytes(), tmp_path / name
    marks = {"net2016_csynth.rpt": b"|Available", "net2024_export.rpt": b"CP achieved post-impl"}
    marks |= {"net2024_timing_summary_routed.rpt": b"clk_out1", "vivado_synth.rpt": b"\n3. DSP\n---"}
    words = {"net2016_csynth.rpt": "'Available'", "net2024_export.rpt": "post-implementation", "vivado_synth.rpt": "'3. DSP'"}
    path.write_bytes(data[: data.index(marks[name])])
    with pytest.raises(InvalidInput, match="cut off or damaged") as caught:
        ALL[DATA / name](path)
    assert words.get(name, "Clock Summary") in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=15, deadline=None)
@given(changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=40))
def test_changed_bytes(tmp_path_factory, name, changes):
    data = bytearray((DATA / name).read_bytes())
    for where, byte in changes:
        data[int(where * len(data))] = byte
    path = tmp_path_factory.mktemp("changed") / name
    path.write_bytes(data)
    for read in (ALL[DATA / name], read_project):
        try:
            assert is_dataclass(read(path))
        except InvalidInput as error:
            assert len(str(error)) < 1000 + 10 * len(str(path))


@pytest.mark.parametrize("name", ["net2022_csynth.rpt", "vivado_synth.rpt", "net2020_cosim.rpt", "csynth.rpt", "small_power.rpt"])
@settings(max_examples=30, deadline=None)
@given(seed=st.randoms(use_true_random=False))
def test_lines_that_are_lost_or_doubled(tmp_path_factory, name, seed):
    lines = (DATA / name).read_bytes().splitlines(keepends=True)
    lines = [line for line in lines for _ in range(seed.choice((0, 1, 1, 1, 1, 1, 2)))]
    path = tmp_path_factory.mktemp("lines") / name
    path.write_bytes(b"".join(lines))
    try:
        assert is_dataclass(ALL[DATA / name](path))
    except InvalidInput:
        pass


@pytest.mark.parametrize("read", READ_ALL)
@settings(max_examples=40, deadline=None)
@given(
    data=st.one_of(st.binary(max_size=400), st.text(max_size=200).map(str.encode), st.text("+-|= \n*<>&;'", max_size=300).map(str.encode))
)
def test_anything(tmp_path_factory, read, data):
    path = tmp_path_factory.mktemp("any") / "x_csynth.rpt"
    path.write_bytes(data)
    with pytest.raises(InvalidInput):
        read(path)


@pytest.mark.parametrize("read", READ_ALL)
@pytest.mark.parametrize(
    "data", [b"", b"\n \n", b"\x7fELF\0\0", b"PK\x03\x04", b"\xff\xfe<\0p\0", b"a,b\n1,2\n", b"%PDF-1.7", b"<html></html>"]
)
def test_foreign_files(tmp_path, read, data):
    path = tmp_path / "report.rpt"
    path.write_bytes(data)
    with pytest.raises(InvalidInput):
        read(path)


@pytest.mark.parametrize("read", READ_ALL)
def test_gigantic_and_special_files(tmp_path, read):
    path = tmp_path / "myproject_csynth.xml"
    with path.open("wb") as stream:
        stream.truncate(MOST_BYTES + 1)
    with pytest.raises(InvalidInput, match="64 MiB"):
        read(path)
    pipe = tmp_path / "pipe_csynth.rpt"
    os.mkfifo(pipe)
    with pytest.raises(InvalidInput, match="not a regular file"):
        read(pipe)
    with pytest.raises(MissingInput):
        read(tmp_path / "nothing")
    with pytest.raises((InvalidInput, MissingInput)):
        read(tmp_path / "a\0b.rpt")


BOMBS = {
    "billion laughs": '<!DOCTYPE p [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><profile>&b;</profile>',
    "external entity": '<!DOCTYPE p [<!ENTITY x SYSTEM "file:///etc/passwd">]><profile>&x;</profile>',
    "external type": '<!DOCTYPE profile SYSTEM "http://localhost/x.dtd"><profile></profile>',
    "parameter entity": '<!DOCTYPE p [<!ENTITY % x SYSTEM "file:///etc/passwd"> %x;]><profile></profile>',
    "deep": "<profile>" + "<a>" * 100_000 + "</a>" * 100_000 + "</profile>",
    "unknown entity": "<profile>&lut;</profile>",
    "unknown encoding": '<?xml version="1.0" encoding="x-none"?><profile></profile>',
}


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("name", ["x_csynth.xml", "hls.app"])
def test_bombs(tmp_path, bomb, name):
    path = tmp_path / name
    path.write_text(BOMBS[bomb])
    words = {"deep": "deep", "unknown entity": "undefined entity", "unknown encoding": "encoding"}.get(bomb, "document type or entities")
    with pytest.raises(InvalidInput, match=words):
        read_project(path)


def test_large_text_is_read_in_linear_time(tmp_path):
    """Many small tables and long lines of what a pattern could try again and again."""
    path = tmp_path / "x_csynth.rpt"
    text = "== Vitis HLS Report for 'a'\n" + "+-+\n|a|\n+-+\n\n" * 60_000 + "* Key:" + " " * 500_000 + "\n" + "+" + "-" * 500_000 + "\n"
    path.write_text(text)
    with pytest.raises(InvalidInput, match="is missing"):
        read_csynth(path)


def test_nothing_from_a_file_reaches_the_terminal_raw(tmp_path):
    text = (DATA / "net2022_csynth.xml").read_text()
    path = tmp_path / "x_csynth.xml"
    path.write_text(text.replace("<Part>xcvu13p", "<Part>\u202exc\u009b2J"))
    project = read_project(path)
    assert isinstance(project, Project)
    assert "part" not in project.summary
