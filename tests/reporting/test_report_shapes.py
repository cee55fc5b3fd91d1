import base64
import json
import re
import zlib
from dataclasses import replace

import numpy as np
import pytest
from report_samples import point

from flow.config import DesignPoint
from flow.core.state import Result, State
from flow.core.store import Store
from flow.reporting import bitmap
from flow.reporting.page import plot_key
from flow.reporting.publish import published
from flow.reporting.report import write_report
from flow.reporting.result import PointResult
from flow.reporting.screening import screening
from flow.reporting.shapes import Graph, Plane, draw, load, representatives
from flow.results import point_result, publish_report

SIZE = 21


def arrays(step=0.25):
    axis = np.linspace(-1, 1, SIZE)
    a, b = np.meshgrid(axis, axis, indexing="ij")

    def loss(x, y):
        return 0.01 + x**2 + 0.2 * y**2

    def rounded(x):
        return np.round(x / step) * step

    weight = np.linspace(-4, 4, SIZE)
    return {
        "surface_random_float": loss(a, b), "surface_random_quantized": loss(rounded(a), rounded(b)),
        "surface_random_axis_lsb": np.stack([4 * axis, 9 * axis]),
        "surface_weight_axis_lsb": weight, "surface_weight_float": 1 + weight**2, "surface_weight_quantized": 1 + np.round(weight) ** 2,
        "surface_lines_axis_lsb": np.stack([4 * axis] * 2), "surface_lines_float": np.stack([axis**2 + 1] * 2),
        "surface_lines_quantized": np.stack([axis**2 + 2] * 2),
        "spectrum_grid": np.linspace(-1, 9, 50), "spectrum_density": np.exp(-np.linspace(-1, 9, 50) ** 2),
        "mode_connectivity_t": np.linspace(0, 1, 5), "mode_connectivity_linear": np.array([[1, 3, 5, 3, 1], [1, 1, 1, 1, 1.0]]),
    }  # fmt: skip


def saved(folder, name="p", **change):
    file = folder / f"{name}.npz"
    np.savez(file, **{**arrays(), **change})
    return file


def pixels(png):
    """Decode an indexed PNG without filters."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    at, chunks = 8, {}
    while at < len(png):
        size = int.from_bytes(png[at : at + 4], "big")
        kind, body = png[at + 4 : at + 8], png[at + 8 : at + 8 + size]
        assert int.from_bytes(png[at + 8 + size : at + 12 + size], "big") == zlib.crc32(kind + body)
        chunks[kind], at = body, at + 12 + size
    width, height = (int.from_bytes(chunks[b"IHDR"][k : k + 4], "big") for k in (0, 4))
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, width + 1)
    assert (rows[:, 0] == 0).all() and len(chunks[b"PLTE"]) == 3 * bitmap.COLOURS
    return rows[:, 1:]


def test_an_image_has_a_pixel_a_number():
    places = np.array([[0.0, 0.5, 1.0], [1.0, 0.0, 2.0]])
    assert pixels(bitmap.png(places)).tolist() == [[0, 128, 255], [255, 0, 255]]


def test_matplotlib_reads_the_image():
    image = pytest.importorskip("PIL.Image")
    from io import BytesIO

    found = np.asarray(image.open(BytesIO(bitmap.png(np.array([[0.0, 1.0]])))).convert("RGB"))
    assert ["#" + "".join(f"{c:02x}" for c in pixel) for pixel in found[0]] == [bitmap.palette()[0], bitmap.palette()[-1]]


def test_contours_of_a_cone_are_circles():
    a = np.arange(101.0)
    radius = np.hypot(*np.meshgrid(a - 50, a - 50)) / 50
    lines = bitmap.contours(np.clip(radius, 0, 1))
    assert len(lines) == bitmap.LEVELS
    for level, line in zip(np.arange(1, 10) / 10, lines, strict=True):
        assert np.hypot(*(line - 50).T) == pytest.approx(50 * level, abs=0.2)


def plane_of(**change):
    main, _ = draw({**arrays(), **change})
    return [d for d in main if isinstance(d, Plane)]


def test_a_plane_has_its_first_direction_along_x_and_low_values_below():
    """The loss rises from left to right, and not from bottom to top."""
    ramp = np.repeat(np.linspace(1, 2, SIZE)[:, None], SIZE, axis=1)
    drawn = plane_of(surface_random_float=ramp, surface_random_quantized=ramp + np.linspace(0, 9, SIZE))
    left, up = (pixels(base64.b64decode(d.image.partition(",")[2])) for d in drawn)
    assert (np.diff(left.astype(int), axis=1) >= 0).all() and (np.diff(left.astype(int), axis=0) == 0).all()
    assert (np.diff(up.astype(int), axis=0) <= 0).all() and up[0, 0] > up[-1, 0]


def test_both_planes_have_the_same_colours_and_axes_in_steps():
    real, grid = plane_of()
    assert real.colours == grid.colours and real.log and real.lines != grid.lines
    assert real.x_title == "direction 1 [LSB, rms]" and {text for _, text in real.x_ticks} >= {"−4", "0", "4"}
    assert "−5" in {text for _, text in real.y_ticks} or "−8" in {text for _, text in real.y_ticks}
    terraces = pixels(base64.b64decode(grid.image.partition(",")[2]))
    assert len(np.unique(terraces)) < len(np.unique(pixels(base64.b64decode(real.image.partition(",")[2])))) / 2


def test_a_large_plane_is_thinned_and_keeps_its_centre():
    axis = np.linspace(-1, 1, 301)
    bowl = 1 + np.hypot(*np.meshgrid(axis, axis))
    drawn = plane_of(surface_random_float=bowl, surface_random_quantized=bowl, surface_random_axis_lsb=np.stack([axis, axis]))
    image = pixels(base64.b64decode(drawn[0].image.partition(",")[2]))
    assert image.shape == (101, 101) and np.unravel_index(image.argmin(), image.shape) == (50, 50)


def test_what_is_not_finite_is_drawn_as_the_largest_number():
    values = arrays()["surface_random_float"].copy()
    values[0, 0] = np.inf
    assert "nan" not in plane_of(surface_random_float=values)[0].lines
    assert plane_of(surface_random_float=values)[0].colours == plane_of()[0].colours


def test_lines_go_where_the_values_are():
    main, more = draw(arrays())
    weight, spectrum = (d for d in main if isinstance(d, Graph))
    real, grid = weight.lines
    assert [name for _, _, name in weight.lines] == ["real numbers", "weights on their grid"] and real[1] != grid[1]
    y = [float(p.split()[1]) for p in real[0][1:].split("L")]
    assert y.index(max(y)) == SIZE // 2 and y[0] == y[-1], "the lowest loss is lowest on the page, and in the middle"
    assert spectrum.log and spectrum.x_title == "eigenvalue"
    paths = more[-1]
    assert isinstance(paths, Graph) and paths.title.startswith("Loss between two seeds") and len(paths.lines) == 1


def test_only_what_is_there_is_drawn(tmp_path):
    assert draw({}) == ([], [])
    lone = {k: v for k, v in arrays().items() if k != "surface_random_quantized"}
    assert not [d for d in draw(lone)[0] if isinstance(d, Plane)]
    file = saved(tmp_path, surface_random_float=np.full((SIZE, SIZE), np.nan), topology_pairs_float=np.empty((0, 3)))
    assert "surface_random_float" not in load([file]) and "topology_pairs_float" not in load([file])


def three(folder):
    return [
        replace(point(bits), shapes=(saved(folder, f"p{bits}"),)) for bits in (3, 4, 6, 8)
    ]  # fmt: skip


def test_the_best_and_the_most_and_least_robust_points_are_drawn(tmp_path):
    found = representatives(three(tmp_path))
    assert found["econ-w8-plain-s0"] == ["best task score", "least robust"] and found["econ-w3-plain-s0"] == ["most robust"]
    assert len(found) == 2
    pair = three(tmp_path)[:2]
    assert list(representatives(pair)) == [p.name for p in pair]
    assert representatives([point(3), replace(point(4), shapes=(saved(tmp_path),), status="untrained")]) == {}


@pytest.mark.usefixtures("no_png")
def test_the_page_has_the_drawings_and_is_the_same_twice(tmp_path):
    first = write_report(tmp_path / "a", "s", "c", three(tmp_path)).read_text()
    assert first.count("<image ") == 4 and first.count('href="data:image/png;base64,') == 4
    assert "img-src data:" in first and not re.search(r"https?://", first) and len(first) < 1_000_000
    assert write_report(tmp_path / "b", "s", "c", three(tmp_path)[::-1]).read_text() == first
    document = json.loads((tmp_path / "a" / "metrics.json").read_text())
    assert "shapes" not in document["points"][0] and PointResult.from_json(document["points"][0]).shapes == ()
    without = write_report(tmp_path / "c", "s", "c", [point(3), point(4)]).read_text()
    assert "<image" not in without and 'id="landscapes"' not in without


@pytest.fixture
def no_png(monkeypatch):
    monkeypatch.setattr("flow.reporting.report._plots", lambda results: {})


def screen(results):
    points = [
        {"name": r.name, "configuration": r.name, "predicted": 0.1 * k, "low": 0.1 * k - 0.05, "high": 0.1 * k + 0.05, "measured": 0.12 * k}
        for k, r in enumerate(results)
    ]
    points.append({"name": "elsewhere", "configuration": "e", "predicted": 0.2, "low": None, "high": None, "measured": 0.1})
    points.append({"name": "not-run", "configuration": "n", "predicted": 0.2, "low": None, "high": None, "measured": None})
    target = {
        "title": "EMD degradation, Gaussian noise 10 %", "unit": "TC pitch / 2", "measured": len(results) + 1, "spearman": 0.8,
        "spearman_ci": [0.4, 0.95], "recall": 0.5, "recall_ci": [0.2, 0.8], "recall_random": 0.25, "rmse": 0.1, "coverage": 0.9,
        "cost_share": None, "baseline": {"spearman": None, "spearman_ci": None}, "gain": None, "gain_ci": None, "points": points,
        "metrics": [{"id": "hessian_trace", "title": "Hessian trace", "partial": 0.3, "ci": [-0.2, 0.7], "plain": None}],
    }  # fmt: skip
    return {"level": 0.9, "points": 4, "configurations": 4, "targets": {"emd_gauss_10": target}}


def test_a_screening_is_drawn_with_the_same_axes_for_predicted_and_measured():
    results = [point(bits) for bits in (3, 4, 6, 8)]
    (view,) = screening(screen(results), results, plot_key(results))
    spots = view.scatter.spots
    assert len(spots) == 5 and [s.point for s in spots] == [0, 1, 2, 3, None] and spots[4].css == "grey" and spots[4].bar is None
    assert all(s.bar[0] <= s.x <= s.bar[1] for s in spots[:4])
    assert [text for _, text in view.scatter.ticks_x] == [text for _, text in view.scatter.ticks_y]
    slope = (view.scatter.bottom - view.scatter.top) / (view.scatter.right - view.scatter.left)
    above = [(view.scatter.bottom - s.y) - slope * (s.x - view.scatter.left) for s in spots]
    assert all(a > 0 for a in above[1:4]) and above[4] < 0, "measured more than predicted is above the diagonal"
    figures = dict(view.figures)
    assert figures["ρ of predicted with measured"] == "+0.80 (+0.40 to +0.95)" and figures["cost of the short trainings"] == "unknown"
    assert figures["gain of ρ by the landscape"].startswith("none") and view.scores == [("Hessian trace", "+0.30 (−0.20 to +0.70)", "–")]
    assert screening(None, results, plot_key(results)) == []


@pytest.mark.usefixtures("no_png")
def test_a_screening_beside_the_report_is_shown_and_judged(tmp_path):
    results = [point(bits) for bits in (3, 4, 6, 8)]
    (tmp_path / "screen.json").write_text(json.dumps(screen(results)))
    text = write_report(tmp_path, "s", "c", results).read_text()
    assert 'id="screening"' in text and "Landscape scores that say most about it" in text
    assert 'href="screen.json"' in text and text.count("predicted after a short training [TC pitch / 2]") == 1
    q11 = json.loads((tmp_path / "metrics.json").read_text())["claims"]["judged"][10]
    assert q11["id"] == "Q11" and q11["verdict"] == "undecided" and q11["parts"][0]["effect"]["value"] == 0.8
    (tmp_path / "screen.json").unlink()
    assert 'id="screening"' not in write_report(tmp_path, "s", "c", results).read_text()


def test_results_know_what_their_stages_left_to_be_drawn(tmp_path):
    file = saved(tmp_path)
    done = Result("landscape", "key", "ok", {"shapes": "digest"})
    state = State().add(done, {"shapes": file})
    result = point_result(DesignPoint(model="econ_t"), state, Store(tmp_path / "store"), "hlscape run")
    assert result.shapes == (file,) and "shapes" not in result.to_json()
    assert published([result])[0][0].shapes == (file,)


@pytest.mark.usefixtures("no_png")
def test_a_report_is_made_anew_when_a_screening_comes_or_goes(tmp_path):
    results, folder, store = [point(bits) for bits in (3, 4)], tmp_path / "r", Store(tmp_path / "store")
    assert 'id="screening"' not in publish_report(store, folder, "s", "c", results).read_text()
    (folder / "screen.json").write_text(json.dumps(screen(results)))
    assert 'id="screening"' in publish_report(store, folder, "s", "c", results).read_text()
    (folder / "screen.json").unlink()
    assert 'id="screening"' not in publish_report(store, folder, "s", "c", results).read_text()
