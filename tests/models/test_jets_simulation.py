import importlib

import numpy as np
import pytest

from flow.model import load_model

ak = pytest.importorskip("awkward")
fastjet = pytest.importorskip("fastjet")
pytest.importorskip("pythia8mc")

MODEL = load_model("jets")
simulation = importlib.import_module(MODEL.load.__module__.replace(".data", ".simulation"))
generator = importlib.import_module(MODEL.load.__module__.replace(".data", ".generator"))
NAMES = simulation.__name__.replace(".simulation", ".features")
FEATURES = importlib.import_module(NAMES).FEATURES


def particle(pt, y, phi):
    """A particle without mass."""
    return {"px": pt * np.cos(phi), "py": pt * np.sin(phi), "pz": pt * np.sinh(y), "E": pt * np.cosh(y)}


def jets(*lists):
    return ak.zip({k: ak.Array([[p[k] for p in jet] for jet in lists]) for k in ("px", "py", "pz", "E")}, with_name="Momentum4D")


def mass(*particles):
    total = {k: sum(p[k] for p in particles) for k in ("px", "py", "pz", "E")}
    return np.sqrt(total["E"] ** 2 - total["px"] ** 2 - total["py"] ** 2 - total["pz"] ** 2)


A, B = particle(600, 0.0, 0.0), particle(300, 0.2, 0.1)


def groomed(*particles):
    got = simulation.groom(jets(list(particles)))
    return len(got.constituents[0]), got.msoftdrop[0]


def test_hard_pair_is_kept():
    assert groomed(A, B) == (2, pytest.approx(mass(A, B), rel=1e-6))
    assert mass(A, B) == pytest.approx(np.sqrt(2 * 600 * 300 * (np.cosh(0.2) - np.cos(0.1))))


def test_soft_wide_particles_are_dropped():
    assert groomed(A, B, particle(50, -0.5, 0.4), particle(80, 0.6, -0.4)) == (2, pytest.approx(mass(A, B), rel=1e-6))


def test_soft_particle_inside_a_hard_subjet_is_kept():
    inside = particle(5, 0.21, 0.1)
    assert groomed(A, B, inside) == (3, pytest.approx(mass(A, B, inside), rel=1e-6))


def test_the_cut_is_a_tenth_of_the_momentum():
    beside = {share: particle(600 * share / (1 - share), 0.5, 0.0) for share in (0.099, 0.101)}
    assert groomed(A, beside[0.099]) == (1, pytest.approx(0.0, abs=0.1))
    assert groomed(A, beside[0.101]) == (2, pytest.approx(mass(A, beside[0.101]), rel=1e-6))


def test_features_of_hand_made_jets():
    soft = particle(40, -0.6, 0.0)
    got = [dict(zip(FEATURES, row, strict=True)) for row in simulation.features(jets([A, B, soft], [A]))]
    share = np.array([p["E"] for p in (A, B, soft)])
    share /= share.sum()
    assert got[0]["multiplicity"] == 3  # before grooming
    assert got[0]["zlogz"] == pytest.approx((share * np.log(share)).sum())
    assert got[0]["c1_b1"] == pytest.approx(2 / 9 * np.hypot(0.2, 0.1))  # after it
    assert got[0]["mass_mmdt"] == pytest.approx(mass(A, B), rel=1e-6)
    assert {k: v for k, v in got[1].items() if abs(v) > 0.1} == {"multiplicity": 1}


def test_ratios_equal_those_of_fastjet():
    rng = np.random.default_rng(0)
    hard = [[particle(p, y, f) for p, y, f in zip(rng.uniform(60, 100, n), *rng.normal(0, 0.1, (2, n)), strict=True)] for n in (3, 12, 25)]
    array = jets(*hard)
    got = dict(zip(FEATURES[1:14], simulation._ratios(array).T, strict=True))
    whole = fastjet.ClusterSequence(array, fastjet.JetDefinition(fastjet.cambridge_algorithm, 1000.0))
    asked = {f"{name}_b{b}": (f"{name}", b) for b in (1, 2) for name in ("c1", "c2", "d2", "n2", "m2")} | {"d2_a1_b2": ("generalizedd2", 2)}
    for name, (func, beta) in asked.items():
        theirs = whole.exclusive_jets_energy_correlator(njets=1, beta=float(beta), alpha=1.0, func=func)
        np.testing.assert_allclose(got[name], ak.to_numpy(theirs), rtol=1e-6, err_msg=name)


def test_hard_process_lies_in_the_window():
    collisions = simulation.Collisions("z", 3)
    collisions.events(5)
    process = collisions._pythia.process
    momenta = [process[i].pT() for i in range(process.size()) if process[i].idAbs() == 23]
    assert len(momenta) == 2
    assert all(simulation.LOW_GEV < pt < simulation.HIGH_GEV for pt in momenta)


def test_same_jets_on_any_number_of_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(generator, "CLASSES", ("q", "t"))
    told = []
    one = generator.generate(20, 7, tmp_path / "one", lambda done, words: None, workers=1)
    two = generator.generate(20, 7, tmp_path / "two", lambda done, words: told.append(done), workers=2)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(one, two, strict=True))
    assert told[-1] == 1.0
    x, labels = one
    assert np.isfinite(x).all()
    assert len(np.unique(x, axis=0)) == 20
    mass = x[:, FEATURES.index("mass_mmdt")]
    assert np.median(mass[labels == 1]) > 100 > np.median(mass[labels == 0])
