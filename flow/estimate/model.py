"""Cost from features: a power law for each figure, fitted to networks that the open back end mapped, with a prediction interval.

``log y = c0 + sum c_k log(feature_k)``, by ordinary least squares. The interval is that of one more network of the same kind (Student's t),
so it covers what the features do not know, not only the uncertainty of the coefficients. `calibration.json` is the table of measured
networks; ``python -m benchmarks.estimate_data`` makes it again.
"""

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from flow.core.errors import InvalidInput

CALIBRATION = Path(__file__).with_name("calibration.json")
VERSION = 1  # of the features and the form of the law
LEVEL = 0.95
ROUNDED = 1e-3  # the table has rounded features
TERMS: Mapping[str, tuple[str, ...]] = {
    "lut": ("adder_bits", "digits", "products"), "lut6_packed": ("adder_bits", "digits", "products"),
    "ff": ("registers", "stages", "products"), "latency_cycles": ("stages", "adder_bits", "products"),
}  # fmt: skip
TRACED: Mapping[str, tuple[str, ...]] = {**TERMS, "lut": ("alkaid_cost",), "lut6_packed": ("alkaid_cost",)}
RANGED = ("adder_bits", "digits", "products", "stages", "registers", "alkaid_cost", "density", "word_share")
Features = Mapping[str, float]
Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A figure and the interval in which the measured one lies for 95 of 100 networks like those of the calibration."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Law:
    """A fitted power law.

    Attributes:
        terms: features.
        coefficients: constant first.
        inverse: of the normal matrix.
        spread: standard deviation of the residuals of log y.
        freedom: degrees of freedom.
    """

    terms: tuple[str, ...]
    coefficients: Vector
    inverse: Vector
    spread: float
    freedom: int

    def predict(self, features: Features) -> Estimate:
        """Evaluate the law at one network."""
        x = _row(features, self.terms)
        centre = float(x @ self.coefficients)
        half = float(stats.t.ppf(0.5 + LEVEL / 2, self.freedom)) * self.spread * float(np.sqrt(1 + x @ self.inverse @ x))
        return Estimate(*(float(np.exp(v)) for v in (centre, centre - half, centre + half)))


@dataclass(frozen=True)
class Table:
    """Measured networks.

    Attributes:
        source: tools with their versions.
        features: of each network.
        measured: figures of each network by id.
        delay_model: version of the delay model that chose their pipelines.
    """

    source: str
    features: tuple[Features, ...]
    measured: Mapping[str, Vector]
    delay_model: int = 0

    def without(self, index: int) -> "Table":
        """Leave one network out."""
        keep = np.arange(len(self.features)) != index
        return Table(
            self.source, tuple(f for f, k in zip(self.features, keep, strict=True) if k), {n: v[keep] for n, v in self.measured.items()}
        )

    def ranges(self) -> dict[str, tuple[float, float]]:
        """Return lowest and highest value of each feature that a law has, or that tells kinds of networks apart."""
        return {
            name: (min(f[name] for f in self.features), max(f[name] for f in self.features)) for name in RANGED if name in self.features[0]
        }


def _row(features: Features, terms: Sequence[str]) -> Vector:
    return np.array([1.0, *(np.log(features[name]) for name in terms)])


def fit(table: Table, figure: str, terms: Sequence[str] | None = None) -> Law:
    """Fit one figure.

    Args:
        table: measured networks.
        figure: one of its ids.
        terms: features; None: those of `TERMS`.

    Raises:
        InvalidInput: there are too few networks.
    """
    names = tuple(TERMS[figure] if terms is None else terms)
    rows = np.stack([_row(f, names) for f in table.features])
    freedom = len(rows) - rows.shape[1]
    if freedom < 1:
        raise InvalidInput(f"calibration: {len(rows)} networks are too few for {rows.shape[1]} coefficients of {figure}.")
    y = np.log(table.measured[figure])
    inverse = np.asarray(np.linalg.pinv(rows.T @ rows), np.float64)
    coefficients = inverse @ rows.T @ y
    spread = float(np.sqrt(np.sum((y - rows @ coefficients) ** 2) / freedom))
    return Law(names, coefficients, inverse, spread, freedom)


@dataclass(frozen=True)
class Validation:
    """Leave-one-out cross-validation of a law.

    Attributes:
        inside: networks whose measured figure lies in the interval of a law fitted without them.
        networks: all.
        median_error: median of the absolute relative error.
        worst_error: largest one.
    """

    inside: int
    networks: int
    median_error: float
    worst_error: float


def validate(table: Table, figure: str, terms: Sequence[str] | None = None) -> Validation:
    """Predict each network by a law that was fitted without it."""
    errors, inside = [], 0
    for i, features in enumerate(table.features):
        got, true = fit(table.without(i), figure, terms).predict(features), float(table.measured[figure][i])
        errors.append(abs(got.value / true - 1))
        inside += got.low <= true <= got.high
    return Validation(inside, len(errors), float(np.median(errors)), float(np.max(errors)))


def read_table(document: Mapping[str, Any]) -> Table:
    """Check a calibration.

    Raises:
        InvalidInput: it is damaged.
    """
    try:
        rows = document["rows"]
        features = tuple(
            {**{str(k): float(v) for k, v in row["features"].items()}, "alkaid_cost": float(row["alkaid_cost"])} for row in rows
        )  # fmt: skip
        measured = {name: np.array([float(row[name]) for row in rows]) for name in TERMS}
        table = Table(str(document["source"]), features, measured, int(document["delay_model"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidInput(f"calibration: not a table of measured networks ({type(error).__name__}: {error}).") from None
    numbers = [*(v for f in features for v in f.values()), *(v for column in measured.values() for v in column)]
    if not features or len({tuple(f) for f in features}) != 1 or not all(np.isfinite(v) and v > 0 for v in numbers):
        raise InvalidInput("calibration: all networks need the same features, and every figure must be finite and above 0.")
    return table


@functools.cache
def calibration() -> Table:
    """Return the table that came with the program."""
    return read_table(json.loads(CALIBRATION.read_text()))


@functools.cache
def law(figure: str, traced: bool = False) -> Law:
    """Return the law of a figure, fitted to `calibration`; a traced network also has the cost of alkaid's adder trees."""
    return fit(calibration(), figure, (TRACED if traced else TERMS)[figure])


def outside(features: Features, ranges: Mapping[str, tuple[float, float]]) -> list[str]:
    """Say which features leave the calibrated range; an estimate is an extrapolation then, and its interval means nothing.

    Args:
        features: of a network; it need not have all.
        ranges: lowest and highest calibrated value by feature.

    >>> outside({"digits": 900.0, "stages": 2.0}, {"digits": (10.0, 300.0), "stages": (1.0, 5.0)})
    ['digits 900 is above 300']
    """
    return [
        f"{name} {features[name]:.4g} is {'below' if features[name] < low else 'above'} {low if features[name] < low else high:.4g}"
        for name, (low, high) in ranges.items()
        if name in features and not low * (1 - ROUNDED) <= features[name] <= high * (1 + ROUNDED)
    ]  # fmt: skip
