"""Jets of proton collisions: simulated with Pythia, clustered and groomed with FastJet.

Both are programs under the GNU GPL that are not part of this project; its extra 'jets' installs them. What is simulated:

- Collisions of protons at 13 TeV with showers, underlying event, hadronisation and decays of Pythia 8.3 (Bierlich et al.,
  arXiv:2203.11601), its Monash tune and its default parton densities (NNPDF2.3 LO). The two partons or bosons that make the jets have
  a transverse momentum of 1 TeV within 1 %.
- Gluons from g g -> g g, light quarks from q q -> q q, top quarks from pair production. W and Z bosons come from a narrow scalar, so
  they are longitudinal and their two quarks mostly share the momentum evenly: 5 % lose one of them in the grooming. Of those from
  q qbar -> WW, ZZ, which are mostly transverse, 20 % would. W, Z and top decay into quarks only.
- Jets of all particles but neutrinos with a transverse momentum above 0.2 GeV and a pseudorapidity below 5: anti-kt, R = 0.8, above
  800 GeV (Cacciari, Salam, Soyez, arXiv:0802.1189). A jet has the label of its event; no matching to partons.
- Grooming: modified mass drop (Dasgupta, Fregoso, Marzani, Salam, arXiv:1307.0007), which is soft drop with beta = 0, z_cut = 0.1
  (Larkoski, Marzani, Soyez, Thaler, arXiv:1402.2657), on jets clustered again with Cambridge/Aachen.

What is not: a detector, pile-up, matrix elements beyond leading order.
"""

import importlib
from typing import Any

import numpy as np

from flow.core.errors import ToolFailed, ToolNotFound

from .features import Floats, correlators, z_log_z

ENERGY_GEV = 13_000
LOW_GEV, HIGH_GEV = 990, 1010
"""Transverse momentum of what makes the two jets."""
LEAST_GEV = 800
RADIUS = 0.8
Z_CUT = 0.1
PARTICLE_GEV, PARTICLE_ETA = 0.2, 5.0
NEUTRINOS = (12, 14, 16)
BATCH = 100

_PROCESSES = {"g": ["HardQCD:gg2gg = on"], "q": ["HardQCD:qq2qq = on"], "t": ["Top:gg2ttbar = on", "Top:qqbar2ttbar = on"]}
_BOSONS = {"w": (24, 80.4, "24 -24"), "z": (23, 91.19, "23 23")}
"""Number, mass in GeV, and the pair that the scalar decays into."""
_GROUP = 16
"""Jets whose correlations are computed together; more no longer fit the cache."""


def library(name: str) -> Any:  # noqa: ANN401 - a module without types
    """Import a library of the simulation.

    Raises:
        ToolNotFound: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ToolNotFound(
            f"The built-in jets need {name} ({error}). `make synth MODEL=jets` installs it, and so does `pip install -e '.[jets]'`: Pythia "
            "and FastJet, under the GNU GPL. Or set data.path to a file of jets."
        ) from None


def settings(kind: str, seed: int) -> list[str]:
    """Return the settings of Pythia for one class of jets."""
    lines = ["Print:quiet = on", "Random:setSeed = on", f"Random:seed = {seed}", f"Beams:eCM = {ENERGY_GEV}."]
    lines += ["24:onMode = off", "24:onIfAny = 1 2 3 4 5", "23:onMode = off", "23:onIfAny = 1 2 3 4 5"]
    if kind not in _BOSONS:
        return [*lines, f"PhaseSpace:pTHatMin = {LOW_GEV}.", f"PhaseSpace:pTHatMax = {HIGH_GEV}.", *_PROCESSES[kind]]
    _, mass, pair = _BOSONS[kind]
    scalar = 2 * float(np.hypot(HIGH_GEV, mass))  # bosons that leave it at a right angle to the beam have HIGH_GEV
    lines += ["HiggsSM:gg2H = on", f"25:m0 = {scalar}", f"25:mMin = {scalar - 20}", f"25:mMax = {scalar + 20}"]
    return [*lines, "25:mWidth = 1.", "25:doForceWidth = on", "25:onMode = off", f"25:onIfMatch = {pair}"]


def _window(pythia8: Any, boson: int) -> Any:  # noqa: ANN401
    """Return a hook that drops, before the shower, scalars whose bosons have less than `LOW_GEV` or more than `HIGH_GEV`."""

    class Window(pythia8.UserHooks):  # type: ignore[misc]
        def canVetoProcessLevel(self) -> bool:  # noqa: N802 - Pythia's name
            return True

        def doVetoProcessLevel(self, process: Any) -> bool:  # noqa: ANN401, N802
            momenta = [process[i].pT() for i in range(process.size()) if process[i].idAbs() == boson]
            return not all(LOW_GEV < pt < HIGH_GEV for pt in momenta)

    return Window()


class Collisions:
    """Pythia, set up for the jets of one class.

    Raises:
        ToolFailed: Pythia refuses.
    """

    def __init__(self, kind: str, seed: int) -> None:
        pythia8 = library("pythia8mc")
        self._pythia = pythia8.Pythia("", False)
        self._hook = _window(pythia8, _BOSONS[kind][0]) if kind in _BOSONS else None  # Pythia does not keep it alive
        if self._hook is not None:
            self._pythia.addUserHooksPtr(self._hook)
        if not all(self._pythia.readString(line) for line in settings(kind, seed)) or not self._pythia.init():
            raise ToolFailed(f"Pythia does not take the settings of class {kind}. Install the version that the extra 'jets' names.")

    def events(self, count: int) -> Any:  # noqa: ANN401
        """Simulate events; return the particles of each that a jet can have, with px, py, pz, E in GeV."""
        record = self._pythia.nextBatch(count, "skip").prt
        p, kind = record.p, abs(record.id)
        kept = (record.status > 0) & (p.px**2 + p.py**2 > PARTICLE_GEV**2)
        for neutrino in NEUTRINOS:
            kept = kept & (kind != neutrino)
        p = p[kept]
        p = p[abs(np.arcsinh(p.pz / np.hypot(p.px, p.py))) < PARTICLE_ETA]
        return library("awkward").zip({"px": p.px, "py": p.py, "pz": p.pz, "E": p.e}, with_name="Momentum4D")


def cluster(events: Any) -> Any:  # noqa: ANN401
    """Return the jets above `LEAST_GEV` of events (lists of particles), each a list of its constituents."""
    awkward, fastjet = library("awkward"), library("fastjet")
    fastjet._swig.ClusterSequence.set_fastjet_banner_stream(None)
    sequence = fastjet.ClusterSequence(events, fastjet.JetDefinition(fastjet.antikt_algorithm, RADIUS))
    return awkward.flatten(sequence.constituents(min_pt=LEAST_GEV), axis=1)


def groom(jets: Any) -> Any:  # noqa: ANN401
    """Return each jet after the modified mass drop: its `constituents`, and its mass `msoftdrop` in GeV."""
    fastjet = library("fastjet")
    whole = fastjet.JetDefinition(fastjet.cambridge_algorithm, fastjet.JetDefinition.max_allowable_R)
    return fastjet.ClusterSequence(jets, whole).exclusive_jets_softdrop_grooming(njets=1, beta=0.0, symmetry_cut=Z_CUT)


def _padded(jagged: Any) -> Floats:  # noqa: ANN401
    """Return lists of numbers as an array, filled with 0 to the length of the longest."""
    awkward = library("awkward")
    longest = int(awkward.max(awkward.num(jagged)))
    filled: Floats = awkward.to_numpy(awkward.fill_none(awkward.pad_none(jagged, longest, clip=True), 0.0))
    return filled


def _ratios(groomed: Any) -> Floats:  # noqa: ANN401
    """Return the correlation ratios (N, 13) of groomed jets; jets of about the same size go together."""
    awkward = library("awkward")
    sizes = awkward.to_numpy(awkward.num(groomed))
    ratios = np.zeros((len(sizes), 13))
    for rows in np.array_split(np.argsort(sizes, kind="stable"), -(-len(sizes) // _GROUP)):
        px, py, pz, energy = (_padded(groomed[rows][name]) for name in ("px", "py", "pz", "E"))
        rapidity = np.arctanh(pz / np.where(energy > 0, energy, 1.0))
        ratios[rows] = correlators(np.hypot(px, py), rapidity, np.arctan2(py, px))
    return ratios


def features(jets: Any) -> Floats:  # noqa: ANN401
    """Return the features (N, 16) of N jets, lists of constituents with px, py, pz, E in GeV."""
    awkward = library("awkward")
    groomed = groom(jets)
    mass = np.maximum(awkward.to_numpy(groomed.msoftdrop), 0.0)
    return np.column_stack([z_log_z(_padded(jets.E)), _ratios(groomed.constituents), mass, awkward.to_numpy(awkward.num(jets))])


def simulate(kind: str, count: int, seed: int) -> Floats:
    """Return the features (count, 16) of jets of one class; the same seed gives the same jets."""
    collisions = Collisions(kind, seed)
    rows = np.zeros((0, 16))
    while len(rows) < count:
        jets = cluster(collisions.events(min(BATCH, (count - len(rows)) // 2 + 1)))  # two jets are hoped for in an event
        if len(jets):
            rows = np.concatenate([rows, features(jets)])
    return rows[:count]
