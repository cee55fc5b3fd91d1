"""Tests of many rank correlations at once."""

from dataclasses import dataclass

from flow.reporting.claims.bootstrap import Effect

FEWEST = 8


@dataclass(frozen=True)
class Correlation:
    """A rank correlation.

    Attributes:
        rho: in [-1, 1].
        p: two-sided, of no correlation.
        ci: its 95 % interval.
    """

    rho: float
    p: float
    ci: tuple[float, float]

    @classmethod
    def of(cls, effect: Effect | None) -> "Correlation | None":
        """Return the correlation that was found, or None."""
        return None if effect is None else cls(effect.value, effect.p, (effect.low, effect.high))


def holm(p_values: list[float], level: float = 0.05) -> list[bool]:
    """Tell which of many tests stand at a family-wise error `level` (Holm, Scand. J. Stat. 6, 1979)."""
    stands = [False] * len(p_values)
    for step, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        if p_values[index] > level / (len(p_values) - step):
            break
        stands[index] = True
    return stands
