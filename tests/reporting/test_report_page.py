import csv
import json
import os
import random
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from report_samples import failed, point, study, untrained

from flow.core.errors import ConfigError, StoreError
from flow.core.metric import Metric
from flow.reporting.checklist import checklist
from flow.reporting.claim import claim
from flow.reporting.page import gate_passed
from flow.reporting.publish import published
from flow.reporting.report import write_report
from flow.reporting.result import PointResult
from flow.reporting.verdict import verdict

COMMAND = "hlscape study models/econ_t/study.toml"
NASTY = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&{{ 7*7 }}$x^2$"


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.words, self.stack = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return write_report(tmp_path_factory.mktemp("report"), "bits", COMMAND, study(), "Bits and regularizers").parent


@pytest.fixture
def no_plots(monkeypatch):
    """PNG files are looked at once; they are the slow part."""
    monkeypatch.setattr("flow.reporting.report._plots", lambda results: {})


def page(folder):
    return (folder / "index.html").read_text()


def test_the_folder_has_all_files_and_nothing_else(report):
    names = sorted(p.name for p in report.iterdir())
    plots = [f"pareto_{s}.png" for s in ("emd", "emd_flip_5", "emd_gauss_10", "emd_salt_10", "hessian_trace", "top_eigenvalue")]
    assert names == sorted(["index.html", "metrics.json", "pareto.csv", *plots])
    assert all((report / name).read_bytes().startswith(b"\x89PNG") for name in plots)


def test_metrics_json_does_not_depend_on_order_folder_or_paths_in_messages(report, tmp_path):
    again = study()
    moved = [{**f, "message": f["message"].replace("/tmp/store/", "/home/else/where/")} for f in again[10].failures]
    again[10] = replace(again[10], failures=moved)
    random.Random(4).shuffle(again)
    backwards = [replace(r, metrics=dict(reversed(r.metrics.items())), config=dict(reversed(r.config.items()))) for r in again]
    other = write_report(tmp_path / "deep" / "x", "bits", COMMAND, backwards, "Bits and regularizers").parent
    for name in ("metrics.json", "pareto.csv", "index.html", "pareto_emd.png"):
        assert (other / name).read_bytes() == (report / name).read_bytes(), name


def test_metrics_json_gives_the_results_back(report):
    document = json.loads((report / "metrics.json").read_text())
    found = [PointResult.from_json(p) for p in document["points"]]
    assert found == published(study())[0]
    assert document["fronts"]["emd_vs_lut"]["econ-w4-plain-s0"] is True
    assert "econ-w2-plain-s0" not in document["fronts"]["emd_vs_lut"]
    rho = document["correlations"]["hessian_trace / emd_flip_5"]
    assert rho["n"] == rho["configurations"] == 10 and rho["spearman"]["ci"][0] < rho["spearman"]["rho"] < rho["spearman"]["ci"][1]
    assert {"given_weight_bits", "given_weight_bits_and_clean_score"} < rho.keys()
    assert [c["id"] for c in document["claims"]["judged"]] == [f"Q{k}" for k in range(1, 13)]
    assert not re.search(r"/tmp|/home|/root", (report / "metrics.json").read_text())


def test_pareto_csv_has_a_row_a_point_with_intervals_classes_and_fronts(report):
    rows = {row["name"]: row for row in csv.DictReader((report / "pareto.csv").open())}
    assert len(rows) == 12
    row = rows["econ-w4-plain-s0"]
    assert (row["lut"], row["lut_class"], row["emd_class"], row["network.weight_bits"]) == ("5658.0", "mapped", "measured", "4")
    assert float(row["emd_low"]) < float(row["emd"]) < float(row["emd_high"])
    assert row["on_front_emd_vs_lut"] == "1" and rows["econ-w8-jacobian-s0"]["on_front_emd_vs_lut"] == "0"
    assert rows["econ-w2-plain-s0"]["on_front_emd_vs_lut"] == "" and rows["econ-w7-plain-s0"]["lut"] == ""
    assert rows["econ-w3-jacobian-s0"]["regularizers"] == "jacobian=0.01"


def test_the_page_is_whole_in_order_and_needs_no_network(report):
    text = page(report)
    parsed = Page(text)
    heads = re.findall(r"<h2>(.*?)</h2>", text)
    assert heads == ["Verdict", "Claims", "Pareto plots", "All points", "Learning curves", "Details of each point",
                     "Is a flat minimum a robust network?", "Failures", "Untrained networks", "Provenance",
                     "Review checklist"]  # fmt: skip
    links = [value for _, name, value in parsed.attributes if name in ("href", "src", "xlink:href", "action")]
    assert all(link.startswith("#") or (report / link).is_file() for link in links)
    assert not re.search(r"https?://|@import|url\(", text)
    assert parsed.tags.count("script") == 1 and parsed.tags.count("figure") == 12 + 14 + 2 + 2 * 12
    ids = [value for _, name, value in parsed.attributes if name == "id"]
    assert len(ids) == len(set(ids)) and all(link[1:] in ids for link in links if link.startswith("#"))
    assert "econ-w4-plain-s0" in text and "10 of 12" in text and "5 ns (200 MHz)" in text and "mean image reaches" in text


def test_no_text_of_a_user_becomes_markup(tmp_path):
    layer = {"name": NASTY, "kind": NASTY, "output": [1, 1, 1], "reuse": 1, "cycles": 1, "multipliers": 0, "queue": [0], "why": NASTY}
    layers = {"layers": [layer], "busiest": 1}
    bad = replace(
        point(), name=NASTY, reproduce=NASTY, versions={NASTY: NASTY}, notes={NASTY: NASTY},
        config={**point().config, "model": NASTY, "regularizers": {NASTY: 1.0}, "hardware": {"part": NASTY, "clock_ns": 5.0}},
        metrics={**point().metrics, "emd": replace(point().metrics["emd"], title=NASTY, unit=NASTY, source=NASTY), NASTY: Metric(1.0)},
        stages={NASTY: {"status": NASTY, "key": NASTY, "artifacts": {NASTY: NASTY}}}, layers=layers,
    )  # fmt: skip
    broken = replace(failed(), failures=[{"stage": NASTY, "error": NASTY, "message": NASTY}])
    fine = write_report(tmp_path / "a", "s", "c", [point(), replace(failed(), name="x")], "t").parent
    evil = write_report(tmp_path / "b", NASTY, NASTY, [bad, broken], NASTY).parent
    parsed = Page(page(evil))
    assert parsed.tags.count("script") == 1 and "img" not in parsed.tags
    assert not [name for _, name, _ in parsed.attributes if name.startswith("on")]
    script = re.search(r"<script>(.*?)</script>", page(evil), re.S)[1]
    assert script == re.search(r"<script>(.*?)</script>", page(fine), re.S)[1]
    assert NASTY in "".join(parsed.words)
    assert NASTY in [row[0] for row in csv.reader((evil / "pareto.csv").open())]


@pytest.mark.usefixtures("no_plots")
def test_a_formula_in_a_name_is_no_formula_in_a_spreadsheet(tmp_path):
    folder = write_report(tmp_path, "s", "c", [replace(point(), name="=1+1"), replace(point(5), name="-x")]).parent
    names = [row[0] for row in csv.reader((folder / "pareto.csv").open())]
    assert names == ["name", "'-x", "'=1+1"]


@pytest.mark.usefixtures("no_plots")
def test_settings_of_layers_and_options_of_regularizers_are_told(tmp_path):
    base = point(4).config
    mixed = {**base, "regularizers": {"sam": {"strength": 1.0, "rho": 0.05}}}
    mixed["network"] = {**base["network"], "layers": {"conv_1": {"bits": 3, "rounding": None}}}
    folder = write_report(tmp_path, "s", "c", [point(5), replace(point(4), config=mixed)]).parent
    assert "sam=1(rho 0.05)" in page(folder) and ">conv 1 bits<" in page(folder)


@pytest.mark.usefixtures("no_plots")
def test_settings_that_all_points_have_are_told_once(tmp_path):
    text = page(write_report(tmp_path / "a", "s", "c", [point(3), point(5)]).parent)
    assert text.count(">landscape.probes<") == 1 and text.count(">network.weight_bits<") == 2 and "same for all points" in text
    alone = page(write_report(tmp_path / "b", "s", "c", [point(3)]).parent)
    assert alone.count(">landscape.probes<") == 1 and "the same for all points</summary>" not in alone


@pytest.mark.usefixtures("no_plots")
def test_classes_are_drawn_apart_with_the_reason_and_the_checklist_objects(tmp_path):
    odd = point(4, "jacobian")
    odd = replace(odd, metrics={**odd.metrics, "lut": replace(odd.metrics["lut"], kind="estimate", value=1.0)})
    results = [point(3), point(5), odd]
    folder = write_report(tmp_path, "s", "c", results).parent
    fronts = json.loads((folder / "metrics.json").read_text())["fronts"]["emd_vs_lut"]
    assert fronts == {"econ-w3-plain-s0": True, "econ-w4-jacobian-s0": True, "econ-w5-plain-s0": True}
    assert "drawn apart: 2 with lut (mapped" in page(folder).replace("&#39;", "'")
    assert next(c for c in checklist(results) if "one axis" in c.text or "one provenance" in c.text).passed is False


@pytest.mark.usefixtures("no_plots")
def test_missing_numbers_are_said_and_an_old_plot_is_removed(tmp_path):
    (tmp_path / "pareto_old.png").write_bytes(b"x")
    (tmp_path / "notes.txt").write_text("mine")
    bare = replace(point(5), metrics={k: m for k, m in point(5).metrics.items() if k != "latency_ns"})
    folder = write_report(tmp_path, "s", "c", [point(3), bare]).parent
    assert "Not on this plot, because there is no latency_ns: econ-w5-plain-s0." in page(folder)
    assert not (tmp_path / "pareto_old.png").exists() and (tmp_path / "notes.txt").exists()


@pytest.mark.parametrize(
    "results", [[], [untrained()], [PointResult("p", "ok")], [replace(point(), metrics={"lut": point().metrics["lut"]})]]
)
def test_a_study_with_little_in_it_still_has_a_report(tmp_path, results):
    folder = write_report(tmp_path, "s", "c", results).parent
    assert "Not shown" in page(folder) and not list(folder.glob("*.png"))


@pytest.mark.usefixtures("no_plots")
def test_a_full_disk_leaves_the_old_report_and_no_rubbish(tmp_path, monkeypatch):
    write_report(tmp_path, "s", "c", [point(3)])
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(StoreError, match="No space left"):
        write_report(tmp_path, "s", "c", [point(4)])
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_two_points_of_one_name_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="two results"):
        write_report(tmp_path, "s", "c", [point(), point()])


def test_the_checklist_passes_on_a_good_study_and_each_line_can_fail():
    assert all(check.passed for check in checklist(study()) if check.done)
    assert [check.done for check in checklist(study())] == [*[True] * 8, *[False] * 4]
    assert "single_bit_map is not in robustness.perturbations" in checklist(study())[8].detail
    good = point(3)
    no_gate = replace(good, gate=None)
    no_tool = replace(good, metrics={**good.metrics, "lut": replace(good.metrics["lut"], source="", part="")})
    no_seed = replace(good, config={**good.config, "seed": None})
    no_interval = replace(good, metrics={**good.metrics, "emd": replace(good.metrics["emd"], ci=None)})
    for number, wrong in enumerate((no_gate, no_tool, no_seed, no_interval)):
        checks = checklist([wrong, point(4)])
        assert [c.passed for c in checks][:5] == [k != number for k in range(5)]
        assert "econ-w3" in checks[number].detail or "emd" in checks[number].detail
    assert "no tool and no part" in checklist([no_tool])[1].detail
    eigen = replace(good.metrics["top_eigenvalue"], ci=None)
    exact = checklist([replace(good, metrics={**good.metrics, "top_eigenvalue": eigen})])[3]
    assert exact.passed and "without one: top_eigenvalue" in exact.detail
    assert not checklist([replace(good, metrics={**good.metrics, "top_eigenvalue": eigen}), point(4)])[3].passed
    assert not checklist([untrained()])[0].passed
    assert not checklist([replace(good, metrics={})])[1].passed and not checklist([replace(good, metrics={})])[3].passed


def test_the_test_set_is_compared_by_digest_or_else_by_the_data_table():
    def same(*results):
        return checklist(list(results))[4]

    other = {**point(4).stages, "data": {"status": "ok", "key": "k", "artifacts": {"data.npz": "other"}}}
    assert not same(point(3), replace(point(4), stages=other)).passed
    assert same(replace(point(3), stages={}), replace(point(4), stages={})).passed
    moved = {**point(4).config, "data": {**point(4).config["data"], "seed": 7}}
    assert not same(replace(point(3), stages={}), replace(point(4), stages={}, config=moved)).passed


def test_the_claim_needs_eight_points_and_speaks_of_bits():
    assert not claim(study()[:7]).shown and "fewer than 8" in claim(study()[:7]).words[0]
    found = claim(study())
    assert found.shown and found.main.same_n and found.main.pairs["hessian_trace", "emd_flip_5"].found["plain"].rho > 0.8
    assert ("hessian_trace_chip", "emd_flip_5") in found.more["other landscape scores"].pairs
    assert ("hessian_trace", "emd_flip_20") in found.more["other levels"].pairs
    assert "9 of 9 correlations" in found.words[0] and "Given weight bits and clean score" in found.words[2]
    assert "10 configurations only strong" in found.words[-1]
    one_width = [point(6, reg, seed) for reg in ("", "jacobian") for seed in range(5)]
    assert any("same weight bits" in words for words in claim(one_width).words)


def test_the_verdict_names_front_knee_and_robust_points():
    found = verdict(study())
    text = " ".join(found.sentences)
    assert found.sentences[0] == "10 of 12 points are ranked, 1 failed, 1 is untrained."
    assert "The knee of that front is econ-w4-plain-s0" in text and "costs 1929 LUT more" in text
    assert "least for econ-w3-jacobian-s0" in text and "6 points are Pareto-optimal" in text
    assert [h.role for h in found.highlights] == ["Best task score", "Knee of the front", "Cheapest"]


def test_the_verdict_warns_of_points_no_better_than_trivial_and_of_inexact_ones():
    weak = replace(point(3), metrics={**point(3).metrics, "emd": Metric(4.0, "TC pitch / 2", direction="lower")})
    inexact = replace(point(5), gate={"mismatches": 1, "samples": 64, "levels": {}})
    text = " ".join(verdict([weak, point(4), inexact]).sentences)
    assert "No better than the trivial predictor: econ-w3-plain-s0" in text and "1 disagreed at the exactness gate" in text
    assert "No point has a task score" in " ".join(verdict([untrained()]).sentences)


@pytest.mark.usefixtures("no_plots")
def test_a_screening_that_is_none_is_refused(tmp_path):
    for text in ("{", "[]", "{}", '{"targets": 1}'):
        (tmp_path / "screen.json").write_text(text)
        with pytest.raises(StoreError, match=r"screen\.json.*hlscape screen"):
            write_report(tmp_path, "s", "c", [point(3)])


@pytest.mark.usefixtures("no_plots")
def test_withheld_costs_are_nowhere_in_the_report(tmp_path):
    secret = replace(point(5), gate={"mismatches": 1, "samples": 64, "levels": {}})
    secret = replace(secret, metrics={**secret.metrics, "lut": replace(secret.metrics["lut"], value=987654.0)})
    folder = write_report(tmp_path, "s", "c", [point(3), secret]).parent
    for name in ("metrics.json", "pareto.csv", "index.html"):
        assert "987654" not in (folder / name).read_text()
    assert "these figures are withheld" in page(folder) and "1 of 64 samples differ" in page(folder)


SCRIPT = """<script>
const out = [];
const names = () => [...document.querySelectorAll('#all tbody tr')].filter((r) => !r.hidden)
  .map((r) => r.cells[0].textContent).join(' ');
const press = (key) => { document.querySelector(`#all th[data-key="${key}"] button`).click(); out.push(key + ': ' + names()); };
window.onerror = (message) => out.push('ERROR ' + message);
press('lut'); press('lut');
const filter = document.getElementById('filter');
filter.value = 'lut < 6000 jacobian'; filter.dispatchEvent(new Event('input')); out.push('filter: ' + names());
document.querySelector('.mark').dispatchEvent(new Event('focus')); out.push('tip: ' + document.getElementById('tip').textContent);
const pre = document.createElement('pre'); pre.id = 'out'; pre.textContent = out.join('|'); document.body.append(pre);
</script></body>"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs the browser chromium")
def test_the_page_sorts_filters_and_shows_tips_in_a_browser(report, tmp_path):
    def dump(file):
        flags = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            f"--user-data-dir={tmp_path / 'profile'}",
        ]
        return subprocess.run(
            ["chromium", *flags, "--dump-dom", file.as_uri()], capture_output=True, text=True, timeout=60, check=True
        ).stdout

    assert ">12 of 12 points<" in dump(report / "index.html"), "the page's own policy must let its script run"
    open_page = tmp_path / "test.html"
    open_page.write_text(re.sub(r"<meta http-equiv[^>]*>", "", page(report)).replace("</body>", SCRIPT))
    up, down, filtered, tip = re.search(r'<pre id="out">(.*?)</pre>', dump(open_page), re.S)[1].split("|")
    assert up.split()[1] == "econ-w3-jacobian-s0" and down.split()[1] == "econ-w8-jacobian-s0"
    assert up.split()[-2:] == down.split()[-2:] == ["econ-w2-plain-s0", "econ-w7-plain-s0"], "what is not ranked stays last"
    assert filtered == "filter: econ-w4-jacobian-s0 econ-w3-jacobian-s0"
    assert "weights, regularizer" in tip


def test_a_mismatch_or_a_level_that_did_not_run_is_no_pass():
    stopped = replace(point(5), gate={"mismatches": 0, "samples": 64, "levels": {"twin": {"mismatches": 0, "samples": 64}}})
    raised = replace(stopped, name="r", failures=[{"stage": "csim", "error": "MismatchError", "message": "differs"}])
    assert stopped.exact and raised.inexact and not raised.ranked
    assert [r.name for r in gate_passed([point(3), stopped, raised])] == [point(3).name]
    assert gate_passed([]) == []


def test_files_are_readable_by_others(report):
    assert all(os.stat(p).st_mode & 0o044 == 0o044 for p in report.iterdir())


def test_labels_of_points_that_lie_close_do_not_cover_each_other():
    from flow.reporting.panels import Dot, Panel
    from flow.reporting.svg import LABEL_HEIGHT, Key, draw

    def at(name, x, y, bits):
        return Dot(name, Metric(x, "LUT"), Metric(y), bits, "none", front=True)

    dots = [at("a", 100, 2.0, 3), at("b", 101, 2.0, 4), at("c", 5000, 1.0, 4), at("d", 5000, 1.5, 12), at("e", 5001, 1.5, 12)]
    panel = Panel("emd", "lut", "Look-up tables", "EMD", "", dots, ranked=True, up_is_better=False, notes=[])
    marks = draw(panel, Key([3, 4, 12], ["none"], {d.name: i for i, d in enumerate(dots)})).marks
    shown = [m for m in marks if m.label]
    assert sorted(m.label for m in shown) == ["12", "3", "4"]
    assert len(marks) == 5
    assert all(abs(a.x - b.x) >= 9 or abs(a.y - b.y) >= LABEL_HEIGHT for a in shown for b in shown if a is not b)
