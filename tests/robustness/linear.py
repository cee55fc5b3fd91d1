"""A linear network on fine grids with targets that are its clean outputs: degradations have closed forms."""

import numpy as np

from flow.model import Score
from flow.robustness._subject import build_subject
from flow.twin import load_twin
from tests.qonnx_models import Builder

WEIGHTS = np.array([[3, -2, 5, 1, -4, 7], [-6, 1, 2, -3, 5, 2], [1, 4, -5, 6, 2, -1]]) / 8
SCALE, BITS = 2.0**-10, 16


def mse(output, target):
    return np.square(output.astype(np.float64) - target).mean(axis=1)


SCORE = Score("mse", "MSE", "u", "lower", mse, lambda t: t.mean(0))


def make(tmp_path, samples=400, signed=True, offset=0.0, detector=None):
    """Six inputs in [-32, 32) or [0, 64), of which the first is no channel; every target is `offset` away from the clean output."""
    b = Builder(6)
    y = b.node("Gemm", b.quant("x", BITS, SCALE, signed=int(signed)), b.weight(WEIGHTS), transB=1)
    twin = load_twin(b.save(tmp_path / f"linear_{signed}.onnx", b.quant(y, 20, SCALE)))
    x = np.random.default_rng(7).normal(0 if signed else 12, 2, (samples, 6))
    x[:, 0] = 0.5
    x = (np.round(x / SCALE) * SCALE).astype(np.float32)
    clean = (x @ WEIGHTS.T).astype(np.float32)
    return build_subject(twin, None, SCORE, x, clean - np.float32(offset), detector=detector, detector_unit="counts")


def forward(x):
    """The outputs in numpy."""
    words = np.clip(np.round(x.astype(np.float64) / SCALE), -(2 ** (BITS - 1)), 2 ** (BITS - 1) - 1)
    return np.round(words @ WEIGHTS.T) * SCALE


def expected(second):
    """The mean squared change of the outputs, from the second moments of the change of the inputs (N, 6, 6) or (6, 6)."""
    return float(np.mean(np.einsum("oi,...ij,oj->...", WEIGHTS, second, WEIGHTS)) / len(WEIGHTS))
