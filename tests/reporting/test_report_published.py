import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from report_samples import failed, point, untrained
from test_report_page import COMMAND, NASTY, Page, page

from flow import cli
from flow.core import artifact
from flow.core.errors import ConfigError
from flow.core.metric import Metric
from flow.model import MODELS
from flow.reporting.beside import beside, converted
from flow.reporting.published import FILE, document, read
from flow.reporting.report import write_report
from flow.synth._parts import find_part

PART = "xcku035-fbva676-2-e"
FIGURE = '[[figure]]\nwhat = "L"\nvalue = 17.6\nunit = "us"\nmetric = "latency_ns"\ncomparable = "no"\nwhy = "w"\nbasis = "quoted"\n'
HEAD = f'title = "T"\nsource = "S"\npart = "{PART}"\n'
OCCUPIED = '[occupied]\nwhat = "rest"\nlut = 100000\nbram = 540\nbasis = "recalled"\nsource = "s"\n'


@pytest.fixture(autouse=True)
def no_plots(monkeypatch):
    monkeypatch.setattr("flow.reporting.report._plots", lambda results: {})


@pytest.fixture
def written(tmp_path):
    """Return what writes ``published.toml`` and reads it again, as a result has it."""

    def write(text):
        (tmp_path / FILE).write_text(text)
        return read(tmp_path).model_dump(mode="json", exclude_defaults=True)

    return write


def on_chip(name, published, part=PART, **metrics):
    base = point().metrics
    counts = {
        key: replace(base[key], value=float(value), part=part) for key, value in metrics.items() if key in ("lut", "ff", "dsp", "bram")
    }
    others = {key: replace(base[key], value=float(value)) for key, value in metrics.items() if key not in counts and key in base}
    kept = {key: base[key] for key in ("emd", "emd_trivial")}
    return point(name=name, metrics=kept | counts | others, published=published)


def section(results):
    (found,) = beside(results)
    return found


def words(folder):
    (text,) = re.findall(r'<section id="published">.*?</section>', page(folder), re.DOTALL)
    return " ".join(" ".join(Page(text).words).split())


def test_each_point_stands_beside_the_published_figures(written, tmp_path):
    design = written(HEAD + FIGURE)
    report = write_report(tmp_path / "r", "s", COMMAND, [on_chip("a", design, latency_ns=5340), on_chip("b", design)]).parent
    assert "L 17.6 us 5.340 us estimate – no w" in words(report)
    assert f"0 of 2 (and 2 that cannot be told) points that are ranked fit an empty {PART}. Counted" in words(report)
    assert "#published" in page(report)


def test_without_a_published_design_there_is_no_section(tmp_path):
    assert beside([point()]) == []
    assert "ublished design" not in page(write_report(tmp_path, "s", COMMAND, [point()]).parent)
    assert document("") == document("econ_t") == document("not there") == {}


@pytest.mark.parametrize(
    ("metric", "unit", "value"),
    [
        (Metric(6015.0, "ns"), "us", 6.015), (Metric(17.6, "us"), "ns", 17600.0), (Metric(195312.5, "1/s"), "kframes/s", 195.3125),
        (Metric(195312.5, "1/s"), "frames/s", 195312.5), (Metric(7.0, "cycles"), "us", 7.0), (Metric(7.0, "ns"), "MHz", 7.0),
    ],
)  # fmt: skip
def test_units_of_one_dimension_are_converted_and_others_kept(metric, unit, value):
    found = converted(metric, unit)
    assert found.value == value
    assert found.unit == (metric.unit if value == metric.value and unit != "frames/s" else unit)


def test_intervals_are_converted_too():
    assert converted(Metric(2000.0, "ns", ci=(1000.0, 4000.0)), "us").ci == (1.0, 4.0)


def test_whether_a_point_fits_is_counted_by_resource(written):
    design, part = written(HEAD + FIGURE), find_part(PART)
    full = {"lut": part.lut, "ff": part.ff, "dsp": part.dsp, "bram": part.bram}
    rows = section([
        on_chip("a-full", design, **full),
        on_chip("b-over", design, **full | {"lut": part.lut + 1, "dsp": part.dsp + 1}),
        on_chip("c-unknown", design, lut=1, ff=1),
        on_chip("d-nothing", design),
        on_chip("e-other", design, part="lfe5u-85f-6bg756c", lut=1, ff=1, dsp=1, bram=1),
    ]).fits  # fmt: skip
    assert [row.alone for row in rows] == [
        ("yes", "good"), ("no: LUT, DSP", "bad"), ("as far as known, without DSP, BRAM", "off"), ("not counted", "off"),
        ("counted for lfe5u-85f-6bg756c", "off"),
    ]  # fmt: skip
    assert [share.share for share in rows[0].shares] == ["100 %"] * 4
    assert [share.share for share in rows[4].shares] == [""] * 4
    assert all(row.room is None for row in rows)


def test_what_else_is_in_the_part_is_subtracted_where_it_is_known(written):
    found = section([
        on_chip(name, written(HEAD + FIGURE + OCCUPIED), lut=lut, ff=406256, dsp=0, bram=bram)
        for name, lut, bram in (("a", 103128, 0), ("b", 103129, 0), ("c", 1, 1))
    ])  # fmt: skip
    assert [row.alone[0] for row in found.fits] == ["yes"] * 3
    assert [row.room for row in found.fits] == [("as far as known, without FF, DSP", "off"), ("no: LUT", "bad"), ("no: BRAM", "bad")]
    assert found.occupied == ["100000", "not known", "not known", "540"]
    assert "3 of 3 points" in found.summary
    assert "0 of 3 (and 1 that cannot be told) beside" in found.summary
    alone = section([on_chip("a", written(HEAD + FIGURE + OCCUPIED), lut=103129, ff=1, dsp=1, bram=0)])
    assert alone.summary == f"By its counts a fits an empty {PART}: yes; beside what else is in it: no: LUT."


def test_of_many_points_the_best_ones_are_shown(written):
    design = written(HEAD + FIGURE)
    scores = {"a": (1.5, 900, 10), "b": (1.1, 800, 40), "c": (1.2, 500, 30), "d": (1.3, 700, 20), "e": (1.4, 600, 5)}
    points = []
    for name, (emd, ns, lut) in scores.items():
        given = on_chip(name, design, latency_ns=ns, lut=lut)
        points.append(replace(given, metrics=given.metrics | {"emd": replace(given.metrics["emd"], value=emd)}))
    # Its figure is of another part, which is the rarer one, so it is not the smallest.
    points.append(on_chip("f", design, part="xcku115-flvb2104-2-i", lut=1))
    found = section([*points, failed(), untrained()])
    assert [(chosen.name, chosen.roles) for chosen in found.chosen] == [
        ("b", "best task score"), ("c", "least latency"), ("e", "fewest LUT"),
    ]  # fmt: skip
    assert [len(row.ours) for row in found.figures] == [3]
    assert len(found.fits) == 6


def test_only_points_that_are_ranked_are_shown(written, tmp_path):
    bad = replace(untrained(), published=written(HEAD + FIGURE))
    assert "No point is ranked" in words(write_report(tmp_path / "r", "s", COMMAND, [bad]).parent)


def test_points_of_two_models_have_a_table_each(written):
    first, second = written(HEAD + FIGURE), written(HEAD.replace('"T"', '"U"') + FIGURE)
    assert [(found.design.title, found.points) for found in beside([on_chip("a", first), on_chip("b", second), on_chip("c", first)])] == [
        ("T", 2), ("U", 1),
    ]  # fmt: skip


def test_texts_of_the_file_are_escaped(tmp_path):
    def quoted(text):
        return "'''" + text.replace("'", "’") + "'''"

    (tmp_path / FILE).write_text(
        f"title = {quoted(NASTY)}\nsource = {quoted(NASTY)}\npart = '{PART}'\n[[figure]]\nwhat = {quoted(NASTY)}\ntext = {quoted(NASTY)}\n"
        f"here = {quoted(NASTY)}\ncomparable = 'no'\nwhy = {quoted(NASTY)}\nbasis = 'quoted'\nsource = {quoted(NASTY)}\n"
        f"[occupied]\nwhat = {quoted(NASTY)}\nlut = 1\nbasis = 'quoted'\nsource = {quoted(NASTY)}\n"
    )
    text = page(write_report(tmp_path / "r", "s", COMMAND, [on_chip("a", read(tmp_path).model_dump(mode="json"), lut=1)]).parent)
    assert text.count("{{ 7*7 }}") >= 8
    assert Page(text).tags.count("script") == 1
    assert "img" not in Page(text).tags


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD, "figure: this key is needed"),
        (HEAD + "figure = []\n", "figure: "),
        (HEAD + FIGURE.replace('"no"', '"maybe"'), "figure 1, comparable: Input should be 'yes', 'partly' or 'no'"),
        (HEAD + FIGURE + FIGURE.replace("metric", "metrics"), "figure 2, metrics: unknown key. Known: what, value, "),
        (HEAD + FIGURE.replace('why = "w"\n', ""), "figure 1, why: this key is needed"),
        (HEAD + FIGURE.replace("17.6", '"17.6"'), "figure 1, value: "),
        (HEAD + FIGURE.replace("17.6", "nan"), "figure 1, value: "),
        (HEAD + FIGURE + 'text = "t"\n', "figure 1: give value (with its unit) or text, one of them"),
        (HEAD + FIGURE + 'here = "t"\n', "figure 1: give metric, the id of a metric, or here, words; one of them"),
        (HEAD.replace("xcku035", "xcku999") + FIGURE, "part: 'xcku999-fbva676-2-e' is not a known part. Known: xcku035"),
        (HEAD + FIGURE + OCCUPIED.replace("lut = 1", "lut = -1"), "occupied, lut: "),
        (HEAD + FIGURE + OCCUPIED.replace("lut", "luts"), "occupied, luts: unknown key"),
        (HEAD + FIGURE + re.sub("lut.*\nbram.*\n", "", OCCUPIED), "occupied: give at least one of lut, ff, dsp, bram"),
        (re.sub("part.*", "", HEAD) + FIGURE + OCCUPIED, "the file: occupied says what of a part is taken; give part"),
        ("title = ", "not valid TOML"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_file_and_key(tmp_path, text, message):
    (tmp_path / FILE).write_text(text)
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        read(tmp_path)
    assert str(tmp_path / FILE) in str(caught.value)


@pytest.mark.parametrize("command", ["run", "sweep"])
def test_a_mistake_stops_a_command_before_any_work(tmp_path, monkeypatch, capsys, command):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HLSCAPE_STORE", str(tmp_path / "store"))
    shutil.copytree(MODELS / "econ_t", tmp_path / "mine", ignore=shutil.ignore_patterns("*.toml", "*.png"))
    (tmp_path / "mine" / FILE).write_text(HEAD)
    (tmp_path / "run.toml").write_text('model = "mine"\nname = "p"\n')
    (tmp_path / "sweep.toml").write_text('name = "s"\npoint = "run.toml"\naxes = { seed = [0, 1] }\n')
    assert cli.main([command, f"{command}.toml"]) == 2
    assert "figure: this key is needed" in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


def test_the_file_is_no_part_of_any_key(tmp_path):
    shutil.copytree(MODELS / "plasma", tmp_path / "plasma")
    before = artifact.source_digest(tmp_path / "plasma")
    (tmp_path / "plasma" / FILE).write_text(HEAD + FIGURE)
    assert artifact.source_digest(tmp_path / "plasma") == before
    assert document(str(tmp_path / "plasma"))["title"] == "T"


def test_every_model_of_this_checkout_has_a_file_that_can_be_read():
    assert [path.parent.name for path in sorted(MODELS.glob(f"*/{FILE}")) if read(path.parent)] == ["plasma"]
    design = read(MODELS / "plasma")
    assert (design.part, design.figure[0].value, design.figure[1].value) == (PART, 17.6, 120000.0)
    assert Path(MODELS / "plasma" / "point.toml").read_text().count(design.part) == 1
