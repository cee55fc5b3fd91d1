import importlib

import numpy as np
import pytest

from flow.core.errors import ToolNotFound
from flow.model import load_model

generator = importlib.import_module(load_model("jets").load.__module__.replace(".data", ".generator"))
SIZES = [501, 501, 501, 501, 500]


@pytest.fixture
def fake(monkeypatch):
    """Random numbers instead of jets, without Pythia; the list tells what was simulated."""
    made = []

    def simulate(kind, count, seed):
        made.append((kind, count, seed))
        return np.random.default_rng(seed).normal(size=(count, 16))

    monkeypatch.setattr(generator, "simulate", simulate)
    monkeypatch.setattr(generator, "library", lambda name: None)
    return made


def quiet(done, words):
    """Progress that nobody looks at."""


def test_classes_are_balanced_and_seeds_differ(tmp_path):
    chunks = generator.plan(2504, 42, tmp_path)
    assert [sum(c.jets for c in chunks if c.kind == k) for k in generator.CLASSES] == SIZES
    assert max(c.jets for c in chunks) == generator.CHUNK
    assert len({c.seed for c in chunks}) == len({c.file for c in chunks}) == len(chunks) == 9
    assert all(1 <= c.seed <= 900_000_000 for c in chunks)
    assert chunks == generator.plan(2504, 42, tmp_path)
    assert {c.seed for c in chunks}.isdisjoint(c.seed for c in generator.plan(2504, 43, tmp_path))


def test_a_larger_sample_begins_with_the_chunks_of_a_smaller(tmp_path):
    small, large = (generator.plan(n, 42, tmp_path) for n in (5000, 10_000))
    assert set(small) < set(large)


def test_jets_labels_and_progress(fake, tmp_path):
    told = []
    x, labels = generator.generate(2504, 42, tmp_path, lambda done, words: told.append((done, words)), workers=1)
    assert x.shape == (2504, 16)
    assert x.dtype == np.float32
    assert np.bincount(labels).tolist() == SIZES
    assert told[-1] == (1.0, "2,504 of 2,504 jets")
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_stopped_generation_goes_on_to_the_same_bytes(fake, tmp_path, monkeypatch):
    whole = generator.generate(2504, 42, tmp_path / "whole", quiet, workers=1)
    del fake[:]

    def stop(done, words):
        if done > 0.4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generator.generate(2504, 42, tmp_path / "cut", stop, workers=1)
    first = list(fake)
    assert 0 < len(first) < 9
    part = next((tmp_path / "cut").glob("*.npy"))
    (tmp_path / "cut" / "t-0-500-1.99.tmp").write_bytes(part.read_bytes()[:100])  # of a process that was killed while it wrote
    again = generator.generate(2504, 42, tmp_path / "cut", quiet, workers=1)
    assert fake[: len(first)] == first
    assert len(fake) == len(set(fake)) == 9  # none twice
    assert all(a.tobytes() == b.tobytes() for a, b in zip(whole, again, strict=True))


def test_missing_library_is_explained(monkeypatch, tmp_path):
    simulation = importlib.import_module(generator.__name__.replace(".generator", ".simulation"))
    monkeypatch.setattr(simulation.importlib, "import_module", lambda name: (_ for _ in ()).throw(ImportError(f"No module named '{name}'")))
    with pytest.raises(ToolNotFound, match=r"pythia8mc.*MODEL=jets.*\.\[jets\].*GPL.*data\.path"):
        generator.generate(200, 42, tmp_path, quiet)
    assert not list(tmp_path.iterdir())
