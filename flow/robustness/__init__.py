"""Perturbations of inputs and of deployed bits, one plug-in a file, found by module name.

A plug-in defines two names.

``TITLE: str``
    Words for a person.

``measure(subject, config, rng, progress) -> dict[str, Metric]``
    `subject` is a `flow.robustness._subject.Subject`: a trained network at the level of its deployed integers, with the samples it
    is scored on. `config` is the `flow.config.RobustnessConfig` of the point. All randomness comes from the `numpy.random.Generator`
    `rng`, which is the same for every point of a study with the same data seed, so that perturbations are paired across points.
    ``progress(fraction, text)`` shows life. Nothing is returned where the perturbation has no meaning, such as noise in detector units
    where the inputs have none.

Every figure is a degradation, ``perturbed - clean`` paired sample by sample, with the sign turned so that positive is worse, in the unit
of the task score, with a 95 % confidence interval. Its `source` says how many samples, and how many draws or trials.

**Levels.** A plug-in says in its first lines what a level is, and may have a constant `LEVELS`, from the weakest to the strongest. A point
replaces them by ``robustness.levels.<plug-in>``; the noise of Baldi et al. has those of ``robustness.noise_percent``, flips those of
``robustness.flips``. All levels share their draws, so they differ by the level alone; sets of bits are drawn for each level.

**Ids** are ``<score id>_<perturbation>_<level>[_<statistic>]``, for example ``emd_gauss_10``; the perturbation is the name of the module,
or ``salt`` or ``flip``. A level is written with at most six digits; of a signal-to-noise ratio it is the number of decibels.

**Curves.** `flow.robustness._curve.curve` makes the figures of rising strengths: the mean at each level, ``_area``, the mean degradation
from no strength to the largest, and ``_critical``, the level from which on the score is worse by ``robustness.tolerance`` of its clean
value, in the unit of the levels. `near_critical` measures more strengths there, since curves are not straight between levels.

**Inputs.** `flow.robustness._noise` has what perturbations of the inputs share: `measure_noise` for what is drawn, with two functions
`draw` and `apply`, and `measure_distortion` for what is not, with `apply` alone.

**Bits.** `flow.robustness._bits` numbers the deployed bits, `Campaign` draws, scores and keeps the trials of a perturbation of them.

**Records.** What a report draws beyond the figures are arrays in `subject.records`, under names that begin with that of the plug-in; stage
``robustness`` writes them into the artifact ``faults``.
"""
