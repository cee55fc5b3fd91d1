"""Streaming hardware in reports: the table by layer, further costs, and the front over all objectives."""

import json
import re
from dataclasses import replace

import pytest
from report_samples import point, study
from stream_samples import BUDGETS, NETWORK, PART, files, stream_point, stream_study

from flow.core.errors import InvalidInput
from flow.reporting.catalog import COSTS, costs_of, plotted_scores
from flow.reporting.checklist import checklist
from flow.reporting.claims.all import judge_claims
from flow.reporting.claims.frame import configuration
from flow.reporting.layers import RESOURCES, collect, layers_view
from flow.reporting.objectives import HEIGHT, WHOLE, draw_objectives, objectives
from flow.reporting.page import plot_key
from flow.reporting.panels import panels, ranked_scores
from flow.reporting.publish import published
from flow.reporting.record import fronts
from flow.reporting.report import write_report
from flow.reporting.svg import draw
from flow.reporting.tables import WIDTH, study_table, terminal_table
from flow.reporting.verdict import verdict


def test_layers_and_what_joins_them_are_the_total(tmp_path):
    found = collect(*files(tmp_path, 1666, 6))
    assert [layer["name"] for layer in found["layers"]] == [row[0] for row in NETWORK]
    for key in RESOURCES:
        assert found["rest"][key] + sum(layer["counts"][key] for layer in found["layers"]) == found["total"][key]
    assert found["rest"]["lut"] == 118 and found["budget"] == 1666 and found["busiest"] == 1649
    assert not any(layer["why"].startswith(layer["name"]) for layer in found["layers"])


def test_cycles_that_there_are_are_those_of_the_frame_not_what_was_aimed_at(tmp_path):
    verilog, report = files(tmp_path, 1666, 6)
    chosen = json.loads((verilog / "reuse.json").read_text())
    (verilog / "reuse.json").write_text(json.dumps(chosen | {"frame_cycles": 1700}))
    assert "of the 1,700 that there are" in layers_view(collect(verilog, report)).words[0]


def test_layers_that_do_not_add_up_are_refused(tmp_path):
    verilog, report = files(tmp_path, 1666, 6)
    document = json.loads(report.read_text())
    document["total"]["srl"] += 1
    report.write_text(json.dumps(document))
    with pytest.raises(InvalidInput, match="SRL of the layers are"):
        collect(verilog, report)


def test_without_synthesis_there_are_no_counts_and_unrolled_networks_have_no_layers(tmp_path):
    view = layers_view(collect(*files(tmp_path, 1666, 6, mapped=False)))
    assert view.headings == () and view.total is None and view.rows[3].counts == () and view.rows[3].reuse == "8"
    assert collect(tmp_path, None) == {} and layers_view({}) is None
    (tmp_path / "verilog" / "reuse.json").unlink()
    bare = layers_view(collect(tmp_path / "verilog", None))
    assert bare.why == [] and bare.words == ["The busiest layer is Conv2D_Conv_2: a frame keeps it busy for 1,649 cycles."]


def test_a_family_with_cells_of_its_own_has_its_headings(tmp_path):
    verilog, report = files(tmp_path, 1666, 6)
    assert layers_view(collect(verilog, report)).headings == ("LUT", "of them SRL", "FF", "DSP", "BRAM36")
    units = {"lut": "LUT4", "dsp": "MULT18X18D", "bram": "DP16KD", "carry": "CCU2C"}
    document = json.loads(report.read_text()) | {"units": units}
    for counts in (document["total"], *document["layers"].values()):
        counts["srl"] = 0
    report.write_text(json.dumps(document))
    found = collect(verilog, report)
    assert layers_view(found).headings == ("LUT4", "FF", "MULT18X18D", "DP16KD"), "this family has no shift registers"
    head, *_, last = (line for line in terminal_table(stream_point(layers=found)).splitlines() if line.startswith(("Hardware by", "all")))
    assert head.split()[-4:] == ["LUT4", "FF", "MULT18X18D", "DP16KD"]
    assert len(head) == len(last) <= WIDTH


def test_a_table_in_the_terminal_has_every_layer_and_the_total():
    text = terminal_table(stream_point())
    rows = {row.split()[0]: row.split() for row in text.splitlines() if row.startswith(("Conv", "Pool", "Reshape", "Dense", "all"))}
    assert len(rows) == len(NETWORK) + 1 and max(map(len, text.splitlines())) <= WIDTH
    layers, total = stream_point().layers["layers"], stream_point().layers["total"]
    third = layers[3]
    assert rows["Conv2D_Conv_1"][-8:-5] == ["8", "1,628", "3"] and rows["Conv2D_Conv_1"][-5] == f"{third['counts']['lut']:,}"
    assert rows["all"] == ["all", *(f"{total[key]:,g}" for key in RESOURCES)]
    assert "Hardware by layer" not in terminal_table(point())
    assert study_table(stream_study()).splitlines()[0].split()[6:12] == ["latency", "reuse", "factor", "frames", "per", "s"]


def test_layers_of_a_point_that_is_not_exact_are_withheld():
    wrong = stream_point(gate={"mismatches": 1, "samples": 64, "levels": {}})
    (shown,), _ = published([wrong])
    assert wrong.layers and not shown.layers and "Hardware by layer" not in terminal_table(wrong)


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A page of one point, and one of a study."""
    folder = tmp_path_factory.mktemp("pages")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("flow.reporting.report._plots", lambda results: {})
        one = write_report(folder / "point", "p", "cmd", [stream_point()])
        return one.read_text(), write_report(folder / "study", "s", "cmd", stream_study()[::5]).parent


def test_pages_have_the_table_by_layer(pages):
    one, folder = pages
    whole = (folder / "index.html").read_text()
    assert one.count("<h2>Hardware by layer</h2>") == 1 and "<h3>Hardware by layer</h3>" not in one
    assert whole.count("<h3>Hardware by layer</h3>") == 4 and "<h2>Hardware by layer</h2>" not in whole
    table = re.search(r'<table class="small layers">.*?</table>', one, re.S)[0]
    cells = {row[0]: row[1:] for row in (re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line) for line in table.splitlines()) if row}
    assert cells["Conv2D_Conv_2"][:6] == ["convolution 3 x 3", "5 × 5 × 16", "65", "48", "1,649", "3"]
    assert cells["what joins them"][6:] == ["118", "0", "96", "0", "0"]
    assert [int(n.replace(",", "")) for n in cells["all"][6:]] == [stream_point().layers["total"][key] for key in RESOURCES]
    assert "<b>Conv2D_Conv_2</b>: reuse factor 65; 1,649 of 1,666 cycles" in one
    assert f"yosys 0.70 for {PART}" in one
    assert json.loads((folder / "metrics.json").read_text())["points"][0]["layers"]["budget"] == 1156


def test_streams_have_further_costs_where_they_differ(pages):
    found = stream_study()
    assert costs_of(found) == [*COSTS, "dsp", "frames_per_s", "reuse_factor", "multipliers"]
    assert costs_of([r for r in found if "w4" in r.name]) == [*COSTS, "frames_per_s", "reuse_factor", "multipliers"]
    assert costs_of(study()) == list(COSTS)
    on_front = json.loads((pages[1] / "metrics.json").read_text())["fronts"]
    assert {"emd_vs_dsp", "emd_vs_frames_per_s", "emd_vs_multipliers", WHOLE} < on_front.keys()
    assert "emd_vs_reuse_factor" not in on_front, "no factor is better than another"
    assert "on_front_emd_vs_frames_per_s" in (pages[1] / "pareto.csv").read_text().splitlines()[0]
    text = (pages[1] / "index.html").read_text()
    assert "Reuse factor of the layer" in re.search(r'<table id="all">.*?</thead>', text, re.S)[0] and "All objectives at once" in text


def test_every_figure_of_a_stream_says_where_it_is_from():
    check = next(c for c in checklist(stream_study()) if "provenance class, a tool" in c.text)
    assert check.passed, check.detail


def test_one_network_at_several_frame_rates_is_one_configuration():
    found = {(r.config["network"]["weight_bits"], configuration(r)) for r in stream_study()}
    assert len(found) == len({bits for bits, _ in found}) == 3
    precision = next(c for c in judge_claims([r for r in stream_study() if r.name.endswith("s0")]) if c.id == "Q3")
    assert precision.parts and all(part.effect is None and "too few series" in part.note for part in precision.parts)


def test_a_front_of_frame_rates_begins_at_the_highest_one():
    found = [
        replace(p, metrics=p.metrics | {"emd": replace(p.metrics["emd"], value=score, ci=(score - 0.01, score + 0.01))})
        for p, score in zip((stream_point(rate) for rate in BUDGETS), (1.3, 1.2, 1.1), strict=True)
    ]
    (panel,), _ = panels(found, ranked_scores(found), "emd", "frames_per_s")
    assert panel.right_is_better and [dot.name for dot in panel.front] == [p.name for p in found]
    line = [float(x) for x in re.findall(r"[MH]([\d.]+)", draw(panel, plot_key(found)).line)]
    assert line == sorted(line, reverse=True), "from the right to the left"
    worse = replace(found[2], metrics=found[2].metrics | {"emd": replace(found[2].metrics["emd"], value=1.295, ci=(1.28, 1.31))})
    (panel,), _ = panels([*found[:2], worse], ranked_scores([*found[:2], worse]), "emd", "frames_per_s")
    assert panel.within_error() == [], "the second is faster and better by more than both intervals"


def test_one_front_over_all_objectives():
    found = stream_study()
    whole = objectives(found)
    assert whole.ranked == ["lut", "dsp", "latency_ns", "frames_per_s", "emd", "emd_flip_5", "emd_gauss_10"]
    assert whole.axes[:2] == ["reuse_factor", "multipliers"]
    sign = {name: -1 if found[0].metrics[name].direction == "higher" else 1 for name in whole.ranked}
    costs = {r.name: [sign[name] * r.metrics[name].value for name in whole.ranked] for r in found}
    beaten = {a for a in costs for b in costs if costs[a] != costs[b] and all(x >= y for x, y in zip(costs[a], costs[b], strict=True))}
    assert whole.front == costs.keys() - beaten and beaten
    assert fronts(found)[WHOLE] == {name: name not in beaten for name in sorted(costs)}
    assert objectives(study()) is None and objectives(found[:1]) is None and WHOLE not in fronts(study())


def test_up_is_better_on_every_axis_and_points_that_lack_a_figure_are_named():
    found = stream_study()
    lacking = replace(found[0], metrics={k: m for k, m in found[0].metrics.items() if k != "frames_per_s"})
    drawn = draw_objectives([lacking, *found[1:]], plot_key(found))
    assert len(drawn.lines) == 17 and lacking.name in drawn.words[-1]
    by_number = {line.point: line for line in drawn.lines}
    for k, name in enumerate(objectives([lacking, *found[1:]]).axes):
        values = {n: r.metrics[name].value for n, r in enumerate(found) if n}
        best = (max if found[1].metrics[name].direction in ("higher", "none") else min)(values, key=values.__getitem__)
        assert by_number[best].dots[k][1] == min(line.dots[k][1] for line in drawn.lines)
    assert all(0 <= x <= drawn.width and drawn.top <= y <= HEIGHT for line in drawn.lines for x, y in line.dots)
    assert plotted_scores(found)[0][0] == "emd"


def test_one_network_in_several_hardware_is_not_told_apart_by_its_robustness():
    found = verdict(stream_study())
    words = next(s for s in found.sentences if "5 bit flips" in s)
    assert re.search(r"least for \S+-w4-s1 and 2 with the same value \(", words) and "most for plasma-6666-w8-s0 and 2 with" in words
    assert ("DSP slices", "106 DSP") in found.highlights[0].numbers, "few look-up tables are no merit without the slices beside them"
    same = verdict([stream_point(rate) for rate in BUDGETS])
    assert re.search(r"5 bit flips .*: the same for all \(", "\n".join(same.sentences))


def test_what_place_and_route_reached_stands_beside_what_the_target_clock_promises():
    one = stream_point()
    clock = replace(one.metrics["latency_ns"], value=79.2, unit="MHz", kind="routed", title="Highest clock frequency, placed and routed")
    (card,) = verdict([replace(one, metrics={**one.metrics, "fmax_mhz": clock})]).highlights
    assert card.numbers[-1] == ("Highest clock frequency, placed and routed", "79.20 MHz")
    assert any("timing not verified" in title for title, _ in card.numbers)
