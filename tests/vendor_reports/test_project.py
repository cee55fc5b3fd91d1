"""Reports of a project, wherever they are in it, merged to one."""

import json
import os
import shutil

import pytest

from flow.core.errors import InvalidInput, MissingInput
from flow.vendor.reports import read_project
from flow.vendor.reports._facts import read_log
from tests.vendor_reports.reports import DATA

SYN, SIM, IMPL = "net2020_prj/solution1/syn/report", "net2020_prj/solution1/sim/report", "net2020_prj/solution1/impl/report/verilog"
CONFIG = """Backend: Vivado
ClockPeriod: 10
HLSConfig:
  Model:
    Precision: ap_fixed<16,6>
    Part: not-this-one
KerasModel: !keras_model 'somewhere/keras_model.h5'
ProjectName: net2020
XilinxPart: xc7z010clg400-1
Version: 1.0.0
"""
APP = '<AutoPilot:project xmlns:AutoPilot="com.autoesl.autopilot.project" name="{project}" top="{top}"><files/></AutoPilot:project>'


def put(folder, **names):
    """Copy data files, by the folder they go to with ``__`` for ``/``; return the folder."""
    for place, files in names.items():
        target = folder / place.replace("__", "/")
        target.mkdir(parents=True, exist_ok=True)
        for file in [files] if isinstance(files, str) else files:
            shutil.copy(DATA / file, target)
    return folder


def copy_as(folder, source, target, **replace):
    """Copy a data file with other words in it."""
    text = (DATA / source).read_text()
    for old, new in replace.values():
        assert old in text
        text = text.replace(old, new)
    (folder / target).parent.mkdir(parents=True, exist_ok=True)
    (folder / target).write_text(text)


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "my_project"
    for place, files in (
        (SYN, ("net2020_csynth.rpt", "net2020_csynth.xml")),
        (SIM, ("net2020_cosim.rpt",)),
        (IMPL, ("net2020_export.rpt", "net2020_timing_synth.rpt")),
        (".", ("vivado_synth.rpt",)),
    ):
        put(folder, **{place.replace("/", "__"): files})
    copy_as(folder, "net2016_csynth.xml", f"{SYN}/dense_c_csynth.xml", name=("net2016", "dense_c"))
    (folder / "hls4ml_config.yml").write_text(CONFIG)
    (folder / "net2020_prj/vivado_hls.app").write_text(APP.format(project="net2020_prj", top="net2020"))
    return folder


def rows(project, *kinds):
    return [(f.name, f.value, f.unit, f.kind, f.available, project.relative(f.path)) for f in project.figures() if f.kind in kinds]


def test_all_figures_of_a_project(project):
    found = read_project(project)
    xml, cosim, timing = f"{SYN}/net2020_csynth.xml", f"{SIM}/net2020_cosim.rpt", f"{IMPL}/net2020_timing_synth.rpt"
    assert rows(found, "csynth") == [
        ("latency_min", 310, "cycles", "csynth", None, xml),
        ("latency_max", 412, "cycles", "csynth", None, xml),
        ("ii_min", 64, "cycles", "csynth", None, xml),
        ("ii_max", 72, "cycles", "csynth", None, xml),
        ("clock_estimated", 8.127, "ns", "csynth", None, xml),
        ("lut", 6929, "LUT", "csynth", 17600, xml),
        ("ff", 4346, "FF", "csynth", 35200, xml),
        ("dsp", 88, "DSP", "csynth", 80, xml),
        ("bram_18k", 7, "BRAM_18K", "csynth", 120, xml),
        ("uram", 0, "URAM", "csynth", 0, xml),
    ]
    assert rows(found, "measured") == [
        (f"cosim_{name}", value, "cycles", "measured", None, cosim)
        for name, value in (
            ("latency_min", 305),
            ("latency_avg", 333),
            ("latency_max", 410),
            ("ii_min", 61),
            ("ii_avg", 66),
            ("ii_max", 70),
        )
    ]
    assert rows(found, "mapped") == [
        ("lut", 3021, "LUT", "mapped", 17600, "vivado_synth.rpt"),
        ("ff", 3990, "FF", "mapped", 35200, "vivado_synth.rpt"),
        ("dsp", 80, "DSP", "mapped", 80, "vivado_synth.rpt"),
        ("bram_tiles", 3.5, "BRAM36", "mapped", 60, "vivado_synth.rpt"),
        ("clock_achieved", 8.411, "ns", "mapped", None, f"{IMPL}/net2020_export.rpt"),
        ("wns", 1.589, "ns", "mapped", None, timing),
        ("tns", 0.0, "ns", "mapped", None, timing),
        ("whs", 0.142, "ns", "mapped", None, timing),
        ("clock_period", 10.0, "ns", "mapped", None, timing),
    ]
    assert not rows(found, "routed")
    assert found.notes == ()
    assert {f.source for f in found.figures()} == {"Vivado HLS 2020.1", "Vivado 2020.1"}
    percent = {f.name: f.percent for f in found.figures() if f.kind == "csynth"}
    assert percent["dsp"] == pytest.approx(110.0)
    assert percent["uram"] is None, "the part has none, so there is no share of it"


def test_facts_and_their_files(project):
    found = read_project(project)
    facts = {key: (fact.value, found.relative(fact.path)) for key, fact in found.summary.items()}
    xml = f"{SYN}/net2020_csynth.xml"
    assert facts == {
        "top": ("net2020", xml),
        "hls_tool": ("Vivado HLS", xml),
        "hls_version": ("2020.1", xml),
        "vivado_version": ("2020.1", "vivado_synth.rpt"),
        "hls4ml_version": ("1.0.0", "hls4ml_config.yml"),
        "part": ("xc7z010-clg400-1", xml),
        "clock_target_ns": ("10.0", xml),
    }
    assert (found.network, [m.module for m in found.modules]) == (None, ["dense_c", "net2020"])


def test_json(project):
    document = json.loads(json.dumps(read_project(project).to_json()))
    lut = [row for row in document["figures"] if row["name"] == "lut"]
    assert [(row["class"], row["value"], row["source"]) for row in lut] == [
        ("csynth", 6929, "Vivado HLS 2020.1"),
        ("mapped", 3021, "Vivado 2020.1"),
    ]
    assert lut[1]["file"] == "vivado_synth.rpt"
    assert document["facts"]["clock_target_ns"] == {"value": 10.0, "file": f"{SYN}/net2020_csynth.xml"}
    assert document["cosim"] == {"status": "Pass", "language": "Verilog", "file": f"{SIM}/net2020_cosim.rpt"}
    assert all("percent" not in row for row in document["figures"] if row["name"] == "uram"), "absent values are left out"


def test_a_routed_design(tmp_path):
    put(tmp_path, deep__er=("net2024_csynth.xml", "net2024_csynth.rpt", "csynth.rpt"))
    put(
        tmp_path,
        impl=("net2024_export.rpt", "net2024_utilization_routed.rpt", "net2024_timing_summary_routed.rpt", "net2024_power_routed.rpt"),
    )
    found = read_project(tmp_path)
    figures = {(f.name, f.kind): f.value for f in found.figures()}
    assert found.top == "net2024"
    assert {key: figures[key, "routed"] for key in ("lut", "ff", "dsp", "bram_tiles", "uram")} == {
        "lut": 1187,
        "ff": 901,
        "dsp": 0,
        "bram_tiles": 0,
        "uram": 2,
    }
    assert (figures["wns", "routed"], figures["whs", "routed"], figures["clock_period", "routed"]) == (-0.114, 0.010, 5.0)
    assert (figures["power", "estimate"], figures["power_dynamic", "estimate"], figures["power_static", "estimate"]) == (
        0.711,
        0.118,
        0.593,
    )
    assert (figures["clock_achieved", "mapped"], figures["clock_achieved", "routed"]) == (3.702, 5.114)
    assert ("lut", "mapped") not in figures
    assert found.notes == ()


def test_counts_of_an_export_alone_are_in_halves(tmp_path):
    found = read_project(put(tmp_path, x="net2020_export.rpt"))
    assert [(f.name, f.value, f.unit) for f in found.figures()][3] == ("bram_18k", 7, "BRAM_18K")
    assert (found.summary["part"].value, found.summary["clock_target_ns"].value) == ("xc7z010-clg400-1", "10.0")


@pytest.mark.parametrize("file", ["net2016_csynth.xml", "csynth.rpt", "net2020_cosim.rpt", "vivado_synth.rpt", "small_power.rpt"])
def test_a_single_report(file):
    found = read_project(DATA / file)
    assert found.figures()
    assert {found.relative(f.path) for f in found.figures()} == {file}


def test_a_single_report_with_a_name_that_says_nothing(tmp_path):
    for i, file in enumerate(["net2024_csynth.rpt", "net2024_export.rpt", "net2024_utilization_routed.rpt", "idle_timing_synth.rpt"]):
        path = tmp_path / f"report{i}.txt"
        shutil.copy(DATA / file, path)
        assert read_project(path).figures()


def test_what_hls4ml_printed_has_the_simulation_too(tmp_path):
    found = read_project(put(tmp_path, x="printed_csynth.rpt"))
    figures = {f.name: f.value for f in found.figures()}
    assert (figures["latency_max"], figures["cosim_latency_max"], figures["lut"]) == (412, 410, 6929)


def test_nothing_there(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(MissingInput, match=r"no report.*Looked for \*_csynth.xml.*vivado_synth.rpt"):
        read_project(tmp_path)
    with pytest.raises(MissingInput, match="no such file"):
        read_project(tmp_path / "nowhere")
    with pytest.raises(InvalidInput, match="not a report that is known"):
        read_project(tmp_path / "notes.txt")


def test_hidden_folders_and_links_are_left_out(tmp_path):
    put(tmp_path, **{"a": "net2016_csynth.xml", ".autopilot": "net2020_csynth.xml"})
    os.symlink(tmp_path, tmp_path / "a" / "loop")
    assert [m.module for m in read_project(tmp_path).modules] == ["net2016"]


def test_a_damaged_report_in_a_project_is_named(project):
    path = project / SYN / "dense_c_csynth.xml"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InvalidInput, match=r"dense_c_csynth\.xml: the file is cut off"):
        read_project(project)


def wrapped(folder):
    copy_as(folder, "net2016_csynth.xml", f"{SYN}/net2020_axi_csynth.xml", name=("net2016", "net2020_axi"))
    (folder / "net2020_prj/vivado_hls.app").write_text(APP.format(project="net2020_prj", top="net2020_axi"))


def test_a_wrapper_around_the_network(project):
    wrapped(project)
    found = read_project(project)
    assert (found.top, found.csynth.module, found.network.module) == ("net2020_axi", "net2020_axi", "net2020")
    lut = {f.module: f.value for f in found.figures() if f.name == "lut" and f.kind == "csynth"}
    assert lut == {"net2020_axi": 1913, "net2020": 6929}


def test_the_top_without_a_project_file(project):
    (project / "net2020_prj/vivado_hls.app").unlink()
    assert read_project(project).top == "net2020", "the name is in hls4ml_config.yml"
    (project / "hls4ml_config.yml").unlink()
    assert read_project(project).top == "net2020", "the name is that of the project"


def test_the_top_is_the_one_that_nobody_calls(tmp_path):
    copy_as(tmp_path, "net2020_csynth.rpt", "a_csynth.rpt", project=("net2020_prj", "other"))
    copy_as(tmp_path, "net2016_csynth.xml", "dense_c_csynth.xml", name=("net2016", "dense_c"))
    assert read_project(tmp_path).top == "net2020"
    copy_as(tmp_path, "net2016_csynth.xml", "third_csynth.xml", name=("net2016", "third"))
    with pytest.raises(InvalidInput, match="which of net2020, third is the top"):
        read_project(tmp_path)


def test_a_report_of_the_top_that_is_missing_is_not_replaced(project):
    for form in ("rpt", "xml"):
        (project / SYN / f"net2020_csynth.{form}").unlink()
    found = read_project(project)
    assert (found.top, found.csynth) == ("net2020", None)
    assert not rows(found, "csynth")
    assert found.notes[0] == "there is no report of the top 'net2020', only of dense_c"


def test_two_solutions(project):
    other = SYN.replace("solution1", "solution2")
    copy_as(project, "net2020_csynth.xml", f"{other}/net2020_csynth.xml", lut=("6929", "6800"))
    with pytest.raises(InvalidInput, match=r"different reports of 'net2020'.*one solution"):
        read_project(project)
    assert read_project(project / "net2020_prj/solution2").csynth.used.lut == 6800
    shutil.copy(project / SYN / "net2020_csynth.xml", project / other)
    assert read_project(project).csynth.used.lut == 6929, "a copy is no contradiction"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("hls4ml_config.yml", "xc7z010clg400-1", "xc7z020clg400-1"), "is for the part xc7z010-clg400-1, hls4ml_config.yml for xc7z020"),
        (("hls4ml_config.yml", "ClockPeriod: 10", "ClockPeriod: 5"), "has a clock period of 10.0 ns, hls4ml_config.yml one of 5 ns"),
        (("vivado_synth.rpt", "7z010clg400-1", "xcvu9p"), "vivado_synth.rpt for xcvu9p"),
        (("vivado_synth.rpt", "3021", "3022"), "vivado_synth.rpt has 3022 LUT"),
        ((f"{SYN}/net2020_csynth.rpt", "|     6929|", "|     6928|"), "net2020_csynth.rpt differ in used; the first is used"),
    ],
)
def test_contradictions_are_noted(project, change, words):
    name, old, new = change
    path = project / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    found = read_project(project)
    assert any(words in note for note in found.notes), found.notes
    assert found.csynth.used.lut == 6929


def test_the_flat_report_is_preferred_to_the_hierarchy(tmp_path):
    copy_as(
        tmp_path, "vivado_synth.rpt", "x_utilization_synth.rpt", lut=("3021", "20444"), ff=("3990", "15015"), dsp=("|   80 |", "| 1204 |")
    )
    put(tmp_path, **{".": "hierarchy_utilization.rpt"})
    found = read_project(tmp_path)
    assert found.utilization[0].lut.available == 17600
    assert not any("differ (mapped)" in note for note in found.notes), "the counts are the same; only one has what is available"


def test_the_report_in_its_place_is_preferred_to_inner_runs(project):
    runs = "net2020_prj/solution1/impl/verilog/project.runs/synth_1"
    copy_as(project, "vivado_synth.rpt", f"{runs}/bd_0_utilization_synth.rpt", lut=("3021", "2900"))
    found = read_project(project)
    assert found.utilization[0].lut.used == 3021
    assert any("project.runs" in note and "differ (mapped)" in note for note in found.notes)


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        (
            "====\n  Vivado(TM) HLS - High-Level Synthesis from C, C++ and SystemC\n  Version 2016.4\n  Build 1\n",
            {"hls_tool": "Vivado HLS", "hls": "2016.4"},
        ),
        (
            "****** Vivado(TM) HLS - High-Level Synthesis from C, C++ and SystemC v2019.2 (64-bit)\nx\n****** Vivado v2019.2.1 (64-bit)\n",
            {"hls_tool": "Vivado HLS", "hls": "2019.2", "vivado": "2019.2.1"},
        ),
        (
            "****** Vitis HLS - High-Level Synthesis from C, C++ and OpenCL v2022.2 (64-bit)\n",
            {"hls_tool": "Vitis HLS", "hls": "2022.2"},
        ),
        ("****** vitis-run v2024.2 (64-bit)\n", {"hls_tool": "Vitis HLS", "hls": "2024.2"}),
        ("****** Vitis HLS - High-Level Synthesis from C, C++ and OpenCL v2022.", {}),
    ],
)
def test_versions_in_logs(tmp_path, text, facts):
    path = tmp_path / "vitis_hls.log"
    path.write_text(text)
    assert {key: fact.value for key, fact in read_log(path).items()} == facts


def test_only_the_configuration_tells_the_part(tmp_path):
    put(tmp_path, x="vivado_synth.rpt")
    (tmp_path / "hls4ml_config.yml").write_text(CONFIG)
    summary = read_project(tmp_path).summary
    assert {key: fact.value for key, fact in summary.items()} == {
        "top": "net2020",
        "vivado_version": "2020.1",
        "hls4ml_version": "1.0.0",
        "part": "xc7z010clg400-1",
        "clock_target_ns": "10",
    }
