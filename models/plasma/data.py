"""Camera frames of a rotating mode: from recordings of the detector, or from the built-in simulator."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flow.config import DataConfig
from flow.core.errors import ConfigError, InvalidInput
from flow.core.stage import Progress
from flow.model import Array, Dataset

from .geometry import PIXELS, Floats, Ints
from .hdf5_files import TEST_SHOTS, count_frames, open_recording, read_shot, selected_shots
from .network import GAUSS
from .simulator import CODES, Codes, shot

FRAMES_PER_SHOT = 30
LEAST_SHOTS = 10
LEAST_FRAMES = 200
SHIFT = 2
"""The front end shifts codes left by two bits and saturates, so that the dim pictures fill the range of the input words."""


@dataclass(frozen=True)
class _Frames:
    """Codes (N, 32, 32), amplitude in G, phase in rad and number of the shot, all (N,)."""

    codes: Array | Codes
    amplitude: Floats
    phase: Floats
    number: Ints


def load(config: DataConfig, progress: Progress, scratch: Path) -> Dataset:
    """Simulate or read frames, and split them by shot: frames of one shot look alike, so none is in two parts.

    Without `config.path` `config.samples` frames are simulated, `FRAMES_PER_SHOT` of each shot. Otherwise `config.path` is an HDF5 file in
    the layout of the published code, of which at most `config.samples` frames are drawn; the shots that the published code tests with
    are the test set if the file has them. The fractions of the split count shots.

    Returns:
        x: images (N, 1, 32, 32), codes / 1024 saturated below 1. y: (amplitude sin phase, amplitude cos phase) / 20 G, (N, 2).
        The detector's unit is a code of the camera, (1, 1, 1, 1).

    Raises:
        MissingInput: there is no such file.
        InvalidInput: the file cannot be used, or has fewer than 200 frames or 3 shots.
        ConfigError: the fractions of the split leave one part empty.
    """
    generate, draw, split = (np.random.default_rng(s) for s in np.random.SeedSequence(config.seed).spawn(3))
    if config.path is None:
        frames, source = _simulated(config.samples, generate, progress), "built-in camera simulator"
    else:
        frames, source = _recorded(Path(config.path), config.samples, draw, progress), Path(config.path).name
    parts = _split(frames.number, config.split, () if config.path is None else TEST_SHOTS, split)
    x, y = _inputs(frames.codes), _targets(frames)
    notes: dict[str, int | float | str] = {
        "source": source,
        "frames": len(x),
        "shots": len(np.unique(frames.number)),
        **{f"shots_{name}": len(np.unique(frames.number[part])) for name, part in parts.items()},
        "mean_pixel": round(float(frames.codes.mean(dtype=np.float64)) / (CODES - 1), 5),
        "std_pixel": round(float(frames.codes.std(dtype=np.float64)) / (CODES - 1), 5),
        "median_amplitude_gauss": round(float(np.median(frames.amplitude)), 3),
        "detector_unit": "camera codes",
    }
    code = np.full((1, 1, 1, 1), 1 / (CODES >> SHIFT), np.float32)
    return Dataset({n: x[p] for n, p in parts.items()}, {n: y[p] for n, p in parts.items()}, notes, dict.fromkeys(parts, code))


def _simulated(count: int, rng: np.random.Generator, progress: Progress) -> _Frames:
    shots = max(LEAST_SHOTS, -(-count // FRAMES_PER_SHOT))
    number = np.sort(np.arange(count, dtype=np.int64) % shots)
    codes, modes = [], []
    for index, (frames, own) in enumerate(zip(np.bincount(number).tolist(), rng.spawn(shots), strict=True)):
        image, mode = shot(frames, own)
        codes.append(image)
        modes.append(mode)
        if index % 10 == 9:
            progress((index + 1) / shots, f"shot {index + 1}/{shots}")
    amplitude, phase = (np.concatenate([getattr(m, name) for m in modes]) for name in ("amplitude", "phase"))
    return _Frames(np.concatenate(codes), amplitude, phase, number)


def _recorded(path: Path, most: int, rng: np.random.Generator, progress: Progress) -> _Frames:
    with open_recording(path) as file:
        shots = selected_shots(file)
        number = np.repeat(shots, [count_frames(file, s) for s in shots])
        if len(number) < LEAST_FRAMES or len(shots) < 3:
            raise InvalidInput(
                f"{path}: {len(number)} frames of {len(shots)} selected shots; at least {LEAST_FRAMES} frames and 3 shots are needed."
            )
        keep = np.sort(rng.permutation(len(number))[:most])
        parts = []
        for index, s in enumerate(shots):
            parts.append(read_shot(file, s, keep[number[keep] == s] - int(np.argmax(number == s))))
            progress((index + 1) / len(shots), f"shot {s}, {index + 1}/{len(shots)}")
    amplitude, phase = (np.concatenate([getattr(m, name) for _, m in parts]) for name in ("amplitude", "phase"))
    return _Frames(np.concatenate([c for c, _ in parts]), amplitude, phase, number[keep])


def _inputs(codes: Array | Codes) -> Array:
    """Shift and saturate codes (N, 32, 32) to images (N, 1, 32, 32) in [0, 1)."""
    largest = (CODES >> SHIFT) - 1
    images: Array = np.minimum(codes, largest).astype(np.float32) / np.float32(largest + 1)
    return images.reshape(-1, 1, PIXELS, PIXELS)


def _targets(frames: _Frames) -> Array:
    """Return sine and cosine component in units of 20 G, (N, 2)."""
    components = frames.amplitude[:, None] * np.stack([np.sin(frames.phase), np.cos(frames.phase)], axis=1)
    return np.asarray(components / GAUSS, dtype=np.float32)


def _split(number: Ints, fractions: tuple[float, float, float], reserved: tuple[int, ...], rng: np.random.Generator) -> dict[str, Ints]:
    """Return the frames of each part, in random order, each shot in one part; the `reserved` shots are the test set if there are any."""
    shots = rng.permutation(np.unique(number))
    tested = shots[np.isin(shots, reserved)]
    if len(tested):
        rest = shots[~np.isin(shots, reserved)]
        groups = [*np.split(rest, [round(fractions[0] / (fractions[0] + fractions[1]) * len(rest))]), tested]
    else:
        groups = np.split(shots, np.rint(np.cumsum(fractions)[:2] * len(shots)).astype(int))
    parts = dict(zip(("train", "validation", "test"), groups, strict=True))
    if empty := [name for name, part in parts.items() if len(part) == 0]:
        raise ConfigError(f"data.split = {list(fractions)}: of {len(shots)} shots nothing is left for {empty[0]}. Give it a larger part.")
    return {name: rng.permutation(np.flatnonzero(np.isin(number, part))) for name, part in parts.items()}
