import importlib

import numpy as np

from flow.model import load_model

geometry = importlib.import_module(load_model("econ_t").load.__module__.replace(".data", ".geometry"))


def test_image_shows_every_cell_once():
    assert sorted(geometry.ARRANGE[geometry.MASK]) == list(range(48))
    assert geometry.MASK.sum() == 48
    assert not geometry.MASK[4:, 4:].any()
    assert (geometry.ARRANGE.reshape(-1)[geometry.PIXEL] == np.arange(48)).all()


def test_cells_survive_the_image():
    cells = np.random.default_rng(0).random((5, 48)).astype(np.float32)
    image = geometry.to_image(cells)
    assert image.shape == (5, 1, 8, 8)
    assert image[2, 0, 0, 4] == cells[2, 0]
    assert image[2, 0, 7, 3] == cells[2, 32]
    assert (geometry.to_cells(image) == cells).all()
    assert image[:, 0, 4:, 4:].sum() == 0


def test_centres_are_the_published_ones():
    # Centimetres, as printed by the authors: corners of the three domains, to their 1.5e-5 rounding.
    published = {
        0: (0, 0), 3: (0, -7.2504044), 12: (6.27903, -3.6251984), 15: (6.27903, -10.875603), 16: (-8.37204, -10.271393),
        19: (-2.0930138, -6.6461945), 31: (-2.0930138, 0.6042023), 32: (4.7092705, -12.386101), 44: (-1.5697594, -16.0113),
        47: (-7.848793, -12.386101),
    }  # fmt: skip
    for cell, centre in published.items():
        np.testing.assert_allclose(geometry.CENTRES[cell] * 2.4168015 / 2, centre, atol=3e-5)


def test_module_has_threefold_symmetry():
    centred = geometry.CENTRES - geometry.CENTRES.mean(axis=0)
    angle = 2 * np.pi / 3
    turned = centred @ np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    nearest = np.hypot(*(turned[:, None] - centred[None]).transpose(2, 0, 1)).min(axis=1)
    assert nearest.max() < 1e-12


def test_distance_is_a_metric_with_pitch_two():
    d = geometry.DISTANCE
    assert (d == d.T).all()
    assert (np.diag(d) == 0).all()
    assert (d[:, :, None] <= d[:, None, :] + d.T[None, :, :] + 1e-12).all()
    assert d[0, 1] == 2.0
    assert abs(d[5, 9] - 2.0) < 1e-12


def test_supercells_are_the_published_table():
    # Herwig's masks: cells and weight times 4 (the excess of the middle cells is added after the division by 4).
    t, u = 1 + 1 / 3, 1 + 2 / 3
    table = [
        (0, 1, 4, 5, 1.5), (2, 3, 6, 7, t), (8, 9, 12, 13, 2.25), (10, 11, 14, 15, 1.5), (16, 17, 20, 21, 1.5), (18, 19, 22, 23, t),
        (24, 25, 28, 29, 2.25), (26, 27, 30, 31, 1.5), (32, 33, 36, 37, 1.5), (34, 35, 38, 39, t), (40, 41, 44, 45, 2.25),
        (42, 43, 46, 47, 1.5), (4, 5, 8, 9, 1.5), (6, 7, 10, 11, 1), (20, 21, 24, 25, 1.5), (22, 23, 26, 27, 1), (36, 37, 40, 41, 1.5),
        (38, 39, 42, 43, 1), (1, 2, 5, 6, 1), (9, 10, 13, 14, 1.5), (17, 18, 21, 22, 1), (25, 26, 29, 30, 1.5), (33, 34, 37, 38, 1),
        (41, 42, 45, 46, 1.5), (5, 6, 9, 10, 1), (21, 22, 25, 26, 1), (37, 38, 41, 42, 1), (0, 1, 27, 31, 1.5), (1, 2, 23, 27, 1),
        (2, 3, 19, 23, u), (3, 7, 34, 35, u), (7, 11, 33, 34, 1), (11, 15, 32, 33, 1.5), (16, 17, 43, 47, 1.5), (17, 18, 39, 43, 1),
        (18, 19, 35, 39, u),
    ]  # fmt: skip
    ours = {tuple(sorted(c)): w for c, w in zip(geometry.SUPERCELLS.tolist(), geometry.SUPERCELL_WEIGHTS, strict=True)}
    assert len(ours) == 36
    for *cells, weight in table:
        assert abs(ours[tuple(cells)] - weight / 4) < 1e-12
