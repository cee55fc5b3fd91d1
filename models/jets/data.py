"""Jets for the tagger: from files of the public set, or from the built-in generator."""

from pathlib import Path

import numpy as np

from flow.config import DataConfig
from flow.core.errors import ConfigError, InvalidInput
from flow.core.stage import Progress
from flow.model import Array, Dataset

from .columns import Ints
from .features import CLASSES
from .files import read
from .generator import generate
from .network import INPUT_MAX

LEAST_JETS = 200
_MOST = INPUT_MAX - 2.0**-10


def load(config: DataConfig, progress: Progress, scratch: Path) -> Dataset:
    """Load or generate jets, split them class by class, and standardise them.

    Without `config.path` they come from the built-in generator, `config.samples` of them, as many of each class. Otherwise
    `config.path` is a file or folder that `files.read` knows, of which at most `config.samples` jets are drawn, in the proportion that
    the classes have there. Jets with the features of an earlier one are dropped: one in the training set and one in the test set
    would make the test look better than it is.

    The network sees (feature - mean) / standard deviation, clipped to [-8, 8). Both are of the training set alone and stand in the
    notes, in the order of `FEATURES`, because the host in front of the hardware needs them.

    Returns:
        Features (N, 16) as x and one-hot classes (N, 5), in the order g, q, w, z, t, as y.

    Raises:
        MissingInput: there is no such path, or nothing in the folder can be read.
        InvalidInput: a file cannot be used, or too few different jets are left.
        ConfigError: the fractions of the split leave a class without a jet in one part.
        ToolNotFound: the generator, or pyarrow for a Parquet file, is not installed.
    """
    order = np.random.default_rng(np.random.SeedSequence([config.seed, len(CLASSES)]))
    if config.path is None:
        x, labels = generate(config.samples, config.seed, scratch, progress)
        source = "built-in simulation with Pythia and FastJet"
    else:
        path = Path(config.path)
        progress(0.0, f"reading {path.name}")
        x, labels = read(path)
        source = path.name
    first = _different(x)
    kept = first[_interleaved(labels[first], order)[: config.samples]]
    if config.path is not None and len(first) < LEAST_JETS:
        raise InvalidInput(f"{config.path}: {len(x)} jets, of which {len(first)} are different; at least {LEAST_JETS} are needed.")
    parts = _split(kept, labels, config, order)
    mean, spread = _standard(x[parts["train"]])
    notes: dict[str, int | float | str] = {
        "source": source,
        "jets_read": len(x),
        "duplicates_dropped": len(x) - len(first),
        "not_drawn": len(first) - len(kept),
        "kept": len(kept),
        "feature_mean": " ".join(f"{v:.9g}" for v in mean),
        "feature_spread": " ".join(f"{v:.9g}" for v in spread),
    }
    one_hot = np.eye(len(CLASSES), dtype=np.float32)
    inputs = {name: standardise(x[rows], mean, spread) for name, rows in parts.items()}
    return Dataset(inputs, {name: one_hot[labels[rows]] for name, rows in parts.items()}, notes)


def standardise(x: Array, mean: Array, spread: Array) -> Array:
    """Return features (N, 16) in standard deviations from their mean, clipped to what the input words can hold."""
    scaled: Array = ((x.astype(np.float64) - mean) / spread).clip(-INPUT_MAX, _MOST).astype(np.float32)
    return scaled


def _standard(x: Array) -> tuple[Array, Array]:
    """Return mean and standard deviation (16,) of features, as the float32 numbers that are written down; a constant one has 1."""
    spread = x.std(axis=0, dtype=np.float64)
    return x.mean(axis=0, dtype=np.float64).astype(np.float32), np.where(spread > 0, spread, 1.0).astype(np.float32)


def _different(x: Array) -> Ints:
    """Return the rows that are not equal to an earlier one, in their order."""
    rows = np.ascontiguousarray(x + 0.0)  # a negative zero becomes a positive one
    whole = rows.view(np.dtype((np.void, rows.itemsize * rows.shape[1]))).reshape(-1)
    first: Ints = np.unique(whole, return_index=True)[1]
    return np.sort(first)


def _interleaved(labels: Ints, rng: np.random.Generator) -> Ints:
    """Return a random order in which every stretch has each class in proportion, to within one jet."""
    shuffled = rng.permutation(len(labels))
    mine = labels[shuffled]
    place = np.empty(len(labels))
    for number in range(len(CLASSES)):
        own = np.flatnonzero(mine == number)
        place[own] = (np.arange(len(own)) + 0.5) / max(len(own), 1)
    return shuffled[np.argsort(place, kind="stable")]


def _split(kept: Ints, labels: Ints, config: DataConfig, rng: np.random.Generator) -> dict[str, Ints]:
    """Divide interleaved rows; each part is shuffled."""
    ends = np.rint(np.cumsum(config.split)[:2] * len(kept)).astype(int)
    parts = dict(zip(("train", "validation", "test"), map(rng.permutation, np.split(kept, ends)), strict=True))
    for name, rows in parts.items():
        if missing := [kind for number, kind in enumerate(CLASSES) if not (labels[rows] == number).any()]:
            raise ConfigError(
                f"data.split = {list(config.split)}: of {len(kept)} jets the {name} set gets {len(rows)} and none of class {missing[0]}. "
                f"Classes: {', '.join(CLASSES)}, {np.bincount(labels[kept], minlength=len(CLASSES)).tolist()} jets."
            )
    return parts
