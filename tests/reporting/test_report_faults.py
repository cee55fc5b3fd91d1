"""The section on robustness: ids, curves, the map of single bits, times, registers, protection, and what a reviewer is told."""

import base64
import csv
import json
import re
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from fault_samples import CURVES, PLACES, TOLERANCE, bit_map, faulty
from report_samples import point, study
from test_report_page import NASTY, Page

from flow.core.metric import Metric
from flow.reporting import criticality, degradation, protection, times, upsets
from flow.reporting.bitmap import png
from flow.reporting.checklist import checklist
from flow.reporting.numbers import value_and_error
from flow.reporting.page import plot_key
from flow.reporting.report import write_report
from flow.reporting.result import PointResult
from flow.reporting.robustness import robustness
from flow.reporting.strengths import share_views
from flow.reporting.tables import WIDTH, terminal_table
from flow.reporting.verdict import verdict

pytestmark = pytest.mark.usefixtures("no_plots")


@pytest.fixture
def no_plots(monkeypatch):
    monkeypatch.setattr("flow.reporting.report._plots", lambda results: {})


def drawn(results):
    found = robustness(results, plot_key(results))
    assert found is not None
    return found


def curves(found):
    return {chart.kind: chart for chart in [*found.main, *(c for some in found.more.values() for c in some)]}


# --- curves


def test_every_point_of_a_few_has_a_line_and_its_critical_strength(six):
    found = drawn(six)
    assert [chart.kind for chart in found.main] == ["flip", "gauss", "measured_noise", "pgd", "salt"]
    assert list(found.more) == list(degradation.GROUPS[:2])
    shown = curves(found)
    assert set(shown) == set(CURVES), "a single strength is no curve"
    gauss = shown["gauss"]
    assert (gauss.title, gauss.unit, gauss.y_title) == ("Gaussian noise", "%", "Δ EMD [TC pitch / 2]")
    assert [line.series.words for line in gauss.lines] == [r.name for r in six] and all(line.critical for line in gauss.lines)
    assert gauss.note.startswith("visible from ") and "1000 samples, 5 draws" in gauss.source and "Gaussian input noise" in gauss.sentence
    assert shown["gain"].note == "not visible up to 20 %" and not any(line.critical for line in shown["gain"].lines)
    assert (shown["flip"].title, shown["flip"].unit) == ("Bit flips", "number")
    assert (shown["stuck_at_0"].title, shown["stuck_at_0"].unit) == ("Bits stuck at 0", "bits")


def test_a_stronger_perturbation_is_always_at_the_right_and_worse_at_the_top(six):
    for chart in curves(drawn(six)).values():
        for line in chart.lines:
            xs, ys = zip(*line.dots, strict=True)
            assert list(xs) == sorted(xs) and list(ys) == sorted(ys, reverse=True), chart.kind
            places = [float(number) for number in re.findall(r"[ML]([\d.]+) ", line.path + line.band)]
            assert all(chart.left <= x <= chart.right for x in places)
            heights = [float(number) for number in re.findall(r" ([\d.-]+)", line.path + line.band)]
            assert all(chart.top <= y <= chart.bottom for y in heights)
    snr = curves(drawn(six))["gauss_snr"]
    assert snr.x_title == "strength [dB], stronger to the right"
    assert [text for _, text in sorted(snr.x_ticks)] == sorted((text for _, text in snr.x_ticks), key=float, reverse=True)


@pytest.mark.parametrize(
    ("clean", "unit", "higher", "text"),
    [
        ("EMD", "TC pitch / 2", False, "Δ EMD [TC pitch / 2]"), ("Accuracy", "", True, "−Δ Accuracy"), ("MAE", "MAE", False, "Δ MAE"),
        ("Mean absolute error of the phase", "rad", False, "degradation [rad]"),
    ],
)  # fmt: skip
def test_what_is_upwards_is_worse_and_fits(clean, unit, higher, text):
    assert degradation.y_title(clean, unit, higher) == text


def test_many_points_are_medians_by_weight_width(tmp_path):
    points = [faulty(tmp_path, bits, "", seed, harden=False) for bits in (4, 8) for seed in range(4)]
    found = drawn(points)
    assert [s.words for s in found.series] == ["4-bit weights, 4 points", "8-bit weights, 4 points"]
    series = found.series[0]
    values = sorted(p.metrics["emd_gauss_20"].value for p in points if p.weight_bits == 4)
    assert series.band("emd_gauss_20") == (pytest.approx(np.median(values)), values[0], values[-1])
    bare = replace(points[0], metrics={k: m for k, m in points[0].metrics.items() if k != "emd_gauss_critical"})
    assert drawn([bare, *points[1:]]).series[0].texts("emd_gauss_critical")[1].endswith(", 3 of 4")


def test_the_visible_drop_is_drawn_where_the_axis_reaches_it(six):
    shown = curves(drawn(six))
    low, high = (TOLERANCE * edge(p.metrics["emd"].value for p in six) for edge in (min, max))
    top, bottom = shown["measured_noise"].visible
    assert top < bottom <= shown["measured_noise"].bottom
    assert degradation.visible_drops(six, "emd") == [TOLERANCE * p.metrics["emd"].value for p in six]
    assert low < high and shown["gain"].visible is None


# --- the map of single bits


def pixels(uri):
    """Decode an indexed PNG of 8 bits with no filter."""
    data = base64.b64decode(uri.partition(",")[2])
    width, height = struct.unpack(">II", data[16:24])
    packed, at = b"", 8
    while at < len(data):
        size, kind = struct.unpack(">I", data[at : at + 4])[0], data[at + 4 : at + 8]
        packed += data[at + 8 : at + 8 + size] if kind == b"IDAT" else b""
        at += 12 + size
    rows = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(height, width + 1)
    return rows[:, 1:]


def test_each_bit_is_at_its_place_of_the_picture(tmp_path):
    """Of a map of which one bit hurts, that pixel is bright, and the ring is around it."""
    arrays = bit_map(6, np.random.default_rng(0))
    harm, tensor = np.zeros(len(arrays["single_bit_map_degradation"])), arrays["single_bit_map_tensor"]
    first = int(np.argmax(tensor == 2))
    worst, mild = first + 6 * (256 * 3 + 17) + 5, first + 6 * 40 + 1
    harm[worst], harm[mild] = 1.0, 0.01
    file = tmp_path / "map.npz"
    np.savez(file, **{**arrays, "single_bit_map_degradation": harm})
    view = criticality.bit_map(replace(point(), shapes=(file,)), [])
    assert [picture.title for picture in view.pictures] == ["conv_1, weight", "conv_1, bias", "dense, weight", "dense, bias"]
    dense = view.pictures[2]
    image = pixels(dense.image)
    assert image.shape == (8 * 7 - 1, 256)
    assert image[3 * 7, 17] == image.max() > 230, "the sign bit is the upper row of its strip"
    assert 1 < image[4, 40] < 255, "bit 1 is the fifth of six rows"
    assert (image[6::7] == 0).all() and (np.delete(image, np.s_[6::7], 0) > 0).all(), "only rows between strips are transparent"
    assert dense.worst == pytest.approx((dense.left + 17.5 / 256 * dense.wide, dense.top + (3 * 7 + 0.5) * criticality.ROW), abs=0.1)
    assert all(picture.worst is None for k, picture in enumerate(view.pictures) if k != 2)
    assert "the sign bit of weight 785 [6, 17] of dense: 1" in view.words[1]
    assert view.words[0].startswith(f"1 of {len(harm)} bits")
    assert [(row.name, row.visible) for row in view.rows][2] == ("dense, weight", "0.00814 %")
    assert dense.bars.bars[0].words == "sign" and dense.bars.bars[-1].words == "LSB"
    assert criticality.map_json(replace(point(), shapes=(file,)))[2]["mean_by_place_from_lowest"][5] == pytest.approx(1 / 2048)


@pytest.mark.parametrize(
    ("words", "shape", "columns", "each"),
    [
        (72, (8, 1, 3, 3), 72, 1),
        (2048, (16, 128), 256, 1),
        (600, (6, 100), 200, 1),
        (900, (3, 300), 225, 1),
        (100_000, (100, 1000), 253, 33),
    ],
)
def test_a_parameter_of_any_size_has_a_picture_of_few_pixels(words, shape, columns, each):
    assert criticality._wrap(words, shape) == (columns, each)
    assert columns <= criticality.COLUMNS and columns * each * criticality.STRIPS >= words


def test_a_map_in_which_no_bit_hurts_is_told_in_words(tmp_path):
    arrays = bit_map(4, np.random.default_rng(0))
    np.savez(tmp_path / "map.npz", **{**arrays, "single_bit_map_degradation": -(arrays["single_bit_map_degradation"] ** 2)})
    view = criticality.bit_map(replace(point(4), shapes=(tmp_path / "map.npz",)), [])
    assert view.pictures == [] and "No bit makes the mean score worse." in view.words and view.rows[-1].visible == "0 %"


def test_holes_of_an_image_are_transparent_and_others_have_no_such_colour():
    assert b"tRNS" not in png(np.zeros((2, 2))) and b"tRNS" in png(np.array([[0.0, np.nan]]))


# --- time, registers, protection


@pytest.mark.parametrize(
    ("days", "text"),
    [
        (40000.0, "110 years"),
        (3.25, "3.25 days"),
        (0.05, "72 minutes"),
        (0.5, "12 hours"),
        (1e-4, "8.64 seconds"),
        (1e12, "2740 million years"),
    ],
)
def test_times_are_written_in_a_unit_that_fits(days, text):
    assert times.duration(days) == text


def test_the_table_of_times_says_rate_source_and_interval(six):
    found, stages = drawn(six).times
    assert [place.name for place in stages.places] == [place.name for place in found.places] and len(stages.none) == 0
    assert len(found.points) <= upsets.MOST and len(found.all) == 6
    assert [place.name for place in found.places] == [words[:1].upper() + words[1:] for words, _ in PLACES.values()]
    first = found.places[0]
    assert (first.rate, first.source) == ("1.2e-13", "a table, 2020") and any(" to " in interval for _, interval in first.times)
    assert found.none == ["econ-w4-jacobian-s0"]


def test_registers_and_protection_are_drawn_of_the_points_that_have_them(six):
    found = drawn(six)
    names = {r.name for r in six if r.weight_bits != 4}
    assert found.registers and {one.name for one in found.registers} <= names and {one.name for one in found.protection} <= names
    bars = found.registers[0].bars[0]
    assert [bar.words for bar in bars.bars][:2] == ["input, 384 b", "stage 1, 720 b"] and bars.bars[-1].text == "34"
    assert "2426 bits of pipeline registers" in found.registers[0].words[0]


def test_a_mean_over_no_draws_has_no_bar(tmp_path):
    arrays = {"upsets_names": np.array(["a", "b"]), "upsets_bits": np.array([1, 2]), "upsets_draws": np.array([0, 9])}
    np.savez(tmp_path / "u.npz", **arrays, upsets_visible=np.array([np.nan, 0.5]), upsets_degradation=np.array([np.nan, 1.0]))
    found = upsets.registers(replace(point(), shapes=(tmp_path / "u.npz",)))
    assert [[bar.words for bar in one.bars] for one in found.bars] == [["b, 2 b"], ["b, 2 b"]]


def hardened(tmp_path, **change):
    """A point with two shares of triplicated bits."""
    arrays = {
        "tmr_share": [0.1, 1.0], "tmr_lut": [100.0, 1000.0], "tmr_ff": [200.0, 2000.0], "tmr_visible": [1.0, 0.0],
        "tmr_degradation": [0.2, 0.0], "tmr_visible_random": [3.6, 0.0], "tmr_degradation_random": [0.9, 0.0], "bare_visible": [4.0],
        "bare_degradation": [1.0], "network_lut": [2000.0], "network_ff": [500.0], "registers_lut": [2600.0], "registers_ff": [1500.0],
        **change,
    }  # fmt: skip
    np.savez(tmp_path / "h.npz", **{f"harden_{name}": np.array(values) for name, values in arrays.items()})
    return protection.protection(replace(point(), shapes=(tmp_path / "h.npz",)))


def test_protection_is_drawn_against_what_it_costs(tmp_path):
    found = hardened(tmp_path)
    lut, ff = found.charts
    assert (lut.title, ff.title) == ("Visible errors against look-up tables", "Visible errors against flip-flops")
    assert [(line.dash, len(line.dots)) for line in lut.lines] == [("", 3), ("5 4", 3)], "from the bare store on"
    assert [text for _, _, text, _ in lut.labels] == ["10 %", "100 %"]
    assert [row.method for row in found.rows] == ["triplicated bits", "triplicated bits", "triplicated registers"]
    assert found.rows[0].cells == [("100", "5 %"), ("200", "40 %")] and found.rows[0].left == [("1 %", "0.200"), ("3.60 %", "0.900")]
    assert found.rows[2].cells == [("600", "30 %"), ("1000", "200 %")] and found.rows[2].left == [("–", ""), ("–", "")]
    assert protection.protection(point()) is None


def test_the_degradation_is_drawn_where_no_visible_error_is_left(tmp_path):
    found = hardened(tmp_path, tmr_visible=[0.0, 0.0])
    assert found.charts[0].title == "Degradation against look-up tables"


# --- the page


@pytest.fixture
def page(six, tmp_path):
    folder = write_report(tmp_path, "faults", "hlscape sweep x", six).parent
    return folder, (folder / "index.html").read_text()


def test_the_page_has_the_section_and_all_numbers_are_beside_it(page, six):
    folder, text = page
    parsed = Page(text)
    ids = [value for _, name, value in parsed.attributes if name == "id"]
    links = [value for _, name, value in parsed.attributes if name == "href" and value.startswith("#")]
    assert len(ids) == len(set(ids)) and all(link[1:] in ids for link in links) and "robustness" in ids
    heads = re.findall(r"<h3>(.*?)</h3>", text)
    for head in ("Degradation curves", "Which bits matter", "Time to a visible error", "Upsets of pipeline registers", "Protection"):
        assert head in heads
    document = json.loads((folder / "metrics.json").read_text())
    assert {p["name"]: len(p["metrics"]) for p in document["points"]} == {r.name: len(r.metrics) for r in six}
    assert document["faults"]["econ-w6-plain-s0"]["harden_tmr_share"] == [0.05, 0.1, 0.25, 0.5, 1.0]
    assert "harden_tmr_share" not in document["faults"]["econ-w4-plain-s0"]
    header = next(csv.reader((folder / "pareto.csv").open()))
    assert {"upset_days_to_visible_iter_bioshield", "emd_gauss_snr_20", "emd_pgd_critical_low", "harden_tmr_lut_5"} <= set(header)


def test_no_text_of_faults_becomes_markup(six, tmp_path):
    arrays = dict(np.load(six[2].shapes[0]))
    arrays |= {"single_bit_map_layers": np.array([NASTY] * 4), "single_bit_map_roles": np.array([NASTY] * 4)}
    arrays["upsets_names"] = np.array([NASTY] * 6)
    np.savez(tmp_path / "evil.npz", **arrays)
    metrics = {name: replace(m, title=f"{NASTY} degradation, {NASTY}", unit=NASTY, source=NASTY) for name, m in six[2].metrics.items()}
    evil = replace(six[2], name=NASTY, metrics=metrics, shapes=(tmp_path / "evil.npz",))
    parsed = Page((write_report(tmp_path, "s", "c", [evil])).read_text())
    assert parsed.tags.count("script") == 1 and "img" not in parsed.tags
    assert not [name for _, name, _ in parsed.attributes if name.startswith("on")]
    assert NASTY in "".join(parsed.words)


def test_a_study_without_faults_has_no_such_section(tmp_path):
    text = write_report(tmp_path, "s", "c", study()).read_text()
    assert "robustness" not in [value for _, name, value in Page(text).attributes if name == "id"]
    assert robustness([], plot_key([])) is None and robustness([PointResult("p", "ok")], plot_key([PointResult("p", "ok")])) is None


def test_many_points_tell_sources_and_ids_once(tmp_path):
    points = [faulty(tmp_path, bits, "", seed, harden=False) for bits in (4, 8) for seed in range(4)]
    text = write_report(tmp_path / "many", "s", "c", points).read_text()
    assert text.count("1000 samples, 5 draws.") == len(CURVES), "below each chart"
    assert text.count("<code>emd_gauss_snr_20</code>") == 1 and "sources of the metrics" in text
    few = write_report(tmp_path / "few", "s", "c", points[:1]).read_text()
    assert "sources of the metrics" not in few and "<code>emd_gauss_snr_*</code>" in few


def test_a_reviewer_is_told_what_was_done_and_why_not(six):
    def lines(results):
        return {c.text: c for c in checklist(results)[6:]}

    noise, flips, bits, days, registers, hardening = lines(six).values()
    assert noise.passed and flips.passed and bits.passed and "hot channels" in noise.detail and "stuck at 1" in flips.detail
    assert days.passed and "no single bit is visible at econ-w4-jacobian-s0" in days.detail
    assert not hardening.passed and hardening.done and hardening.detail.startswith("not at econ-w4-plain-s0, econ-w4-jacobian-s0; else")
    assert not registers.passed and "not at econ-w4" in registers.detail
    some = lines([r for r in six if r.weight_bits != 4])
    assert all(check.passed and check.done for check in some.values())
    odd = replace(six[2], metrics={**six[2].metrics, "gate_upsets_mismatches": Metric(1.0)})
    assert not list(lines([odd]).values())[4].passed
    none = list(lines([point()]).values())
    assert [check.done for check in none] == [True, True, False, False, False, False]
    assert none[5].detail == "not done: protection.methods is empty, or the back end has no RTL"


def test_the_terminal_has_a_perturbation_in_two_lines(six):
    text = terminal_table(six[2])
    assert max(map(len, text.splitlines())) <= WIDTH
    rows = text.splitlines()
    at = next(i for i, row in enumerate(rows) if row.startswith("  bits stuck at 0, n bits [TC pitch / 2]"))
    assert rows[at].endswith("1000 samples, 5 draws") and rows[at + 1].strip().startswith("1: ") and "   mean: " in rows[at + 1]
    for kind, (_, _, strengths, _) in CURVES.items():
        for level in strengths:
            value = value_and_error(six[2].metrics[f"emd_{kind}_{level:g}"])
            assert f"{level:g}: {value[0]} ± {value[1]}" in text
    assert "emd stuck" not in text and " years " in text and "NaN" not in text


def test_the_verdict_says_how_many_bits_matter_and_how_soon(six):
    text = " ".join(verdict(six).sentences)
    assert "Deployed bits that are visible when they flip alone: from 0 % (econ-w4-jacobian-s0) to " in text.replace(" ± 0", "")
    assert re.search(
        r"costs 10 % of EMD, configuration memory .* bioshield of ITER, at most: \d+ days to [\d.]+ years\.|to \d+ days\.", text
    )
    assert "single bit" not in " ".join(verdict(study()).sentences)


@pytest.mark.parametrize("spent", [[100, 104, 108, 112, 5000], [5000, 4990, 10, 5, 0]])
def test_labels_of_shares_do_not_cover_each_other(tmp_path, spent):
    shares = [0.05, 0.1, 0.25, 0.5, 1.0]
    found = hardened(
        tmp_path, tmr_share=shares, tmr_lut=spent, tmr_ff=spent, tmr_visible=[2, 2, 1, 1, 0], ecc_share=shares, ecc_lut=spent,
        ecc_visible=[2, 2, 1, 1, 0], tmr_visible_random=[3, 3, 3, 2, 0],
    )  # fmt: skip
    for chart in found.charts:
        boxes = [(x, y, x + 7 * len(text)) for x, y, text, _ in chart.labels]
        assert boxes and all(chart.left <= x and end <= chart.width and 0 < y <= chart.bottom for x, y, end in boxes)
        assert not [(a, b) for i, a in enumerate(boxes) for b in boxes[:i] if abs(a[1] - b[1]) < 11 and a[0] < b[2] and b[0] < a[2]]


def test_shares_of_protected_bits_are_in_one_row(six):
    views, rest = share_views([*(n for n in six[2].metrics if n.startswith("harden_")), "harden_bare_visible"], six[2].metrics, str)
    assert [(v.words, v.unit, v.id) for v in views] == [("LUT of n %", "LUT", "harden_tmr_lut_*")] and rest == ["harden_bare_visible"]
    assert [level for level, _, _ in views[0].cells] == ["5", "10", "25", "50", "100"]
    text = terminal_table(six[2])
    assert next(row for row in text.splitlines() if row.startswith("  LUT of n % [LUT]")).endswith("mapped, yosys 0.70, part")


def test_names_of_registers_are_not_cut_by_the_edge():
    found = criticality.bars("t", [("model_stage1_inp, 3123 b", 1.0), ("x" * 60, 0.5)])
    assert all(7 * len(bar.words) <= found.left for bar in found.bars) and found.bars[1].words.startswith("…x")
    assert all(found.left + bar.length + 50 <= found.width for bar in found.bars)
