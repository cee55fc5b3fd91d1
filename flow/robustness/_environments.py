"""How often a memory cell is upset at a place, and how long it takes until that is visible."""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from flow.config import RobustnessConfig
from flow.core.errors import ConfigError
from flow.core.metric import Metric

TABLE = Path(__file__).parent / "upset_rates.toml"
DAY = 86400.0  # seconds
HOUR = 3600.0
FIT = 1e9  # hours in which there is one failure
MEGABIT = 1e6
PER_FEMTOBARN = 1e39  # cm-2 in fb-1
OWN = "own"


@dataclass(frozen=True)
class Environment:
    """A place, and a kind of memory in it.

    Attributes:
        id: its name in the table, a part of an id.
        title: words for a person.
        rate: upsets per bit and day.
        source: where the rate is from.
    """

    id: str
    title: str
    rate: float
    source: str


def read_table(path: Path = TABLE) -> tuple[Environment, ...]:
    """Read a table of rates; its head says what a row has.

    Raises:
        ConfigError: a row has no rate, two of them, or no source.
    """
    return tuple(_environment(name, row) for name, row in tomllib.loads(path.read_text()).items())


def _environment(name: str, row: dict[str, object]) -> Environment:
    words = {key: row.get(key) for key in ("title", "source", "basis")}
    if not all(isinstance(word, str) and word for word in words.values()) or words["basis"] not in ("quoted", "recalled"):
        raise ConfigError(f"upset rates, {name}: give title, source, and basis, which is 'quoted' or 'recalled'.")
    numbers = {key: float(value) for key, value in row.items() if isinstance(value, int | float) and value > 0}
    if set(numbers) != set(row) - set(words):
        raise ConfigError(f"upset rates, {name}: all but {', '.join(words)} must be positive numbers.")
    source = f"{words['source']}{'' if words['basis'] == 'quoted' else '; recalled'}"
    return Environment(name, str(words["title"]), _rate(name, numbers), source)


def _rate(name: str, row: dict[str, float]) -> float:
    match sorted(row):
        case ["per_bit_day"]:
            return row["per_bit_day"]
        case ["fit_per_mb"]:
            return row["fit_per_mb"] / MEGABIT / FIT * DAY / HOUR
        case ["cross_section_cm2", "flux_cm2_s"]:
            flux = row["flux_cm2_s"]
        case ["cross_section_cm2", "flux_cm2_h"]:
            flux = row["flux_cm2_h"] / HOUR
        case ["cross_section_cm2", "fluence_cm2", "fluence_fb", "luminosity_cm2_s"]:
            flux = row["fluence_cm2"] / (row["fluence_fb"] * PER_FEMTOBARN) * row["luminosity_cm2_s"]
        case given:
            raise ConfigError(f"upset rates, {name}: no rate from {', '.join(given) or 'nothing'}; see the head of {TABLE.name}.")

    return row["cross_section_cm2"] * flux * DAY


def environments(config: RobustnessConfig) -> tuple[Environment, ...]:
    """Return the rates that a point asks for: its own, or a row of the table, or all of them.

    Raises:
        ConfigError: the table has no such row.
    """
    table = {place.id: place for place in read_table()}
    if config.environment and config.environment not in table:
        raise ConfigError(f"robustness.environment = {config.environment!r} is none of {', '.join(table)}. Leave it out for all of them.")
    if config.upset_rate is not None:
        return (Environment(OWN, "the rate given", config.upset_rate, "robustness.upset_rate"),)
    return (table[config.environment],) if config.environment else tuple(table.values())


def visible_days(places: Iterable[Environment], share: Metric, bits: int, error: str) -> dict[str, Metric]:
    """Return the expected days to the first upset that is visible, 1 / (rate x visible bits), by environment.

    Args:
        places: the rates.
        share: of the bits that are visible, in percent, with its interval. If it is 0, no time is known.
        bits: how many there are.
        error: what is visible, for a table.
    """
    visible, (low, high) = share.value / 100 * bits, share.ci or (share.value, share.value)
    if visible <= 0:
        return {}
    # Fewer than one bit would be none, for which there is no time; the interval ends where one is left.
    ends = [max(1.0, end / 100 * bits) for end in (high, low)]
    days, samples = {}, share.source.rpartition(", ")[2]
    for place in places:
        early, late = (1 / (place.rate * end) for end in ends)
        days[place.id] = Metric(
            1 / (place.rate * visible), "days", kind="estimate", direction="higher", ci=(early, late),
            source=f"{place.rate:.3g} upsets per bit and day ({place.source}); {round(visible)} of {bits} bits; {samples}",
            title=f"Expected time until one upset costs {error}, {place.title}",
        )  # fmt: skip
    return days
