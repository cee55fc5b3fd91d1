"""Perturbations of inputs and deployed weights, one plug-in a file, found by module name.

A plug-in defines two names.

``TITLE: str``
    Words for a person.

``measure(subject, config, rng, progress) -> dict[str, Metric]``
    `subject` is a `flow.robustness._subject.Subject`: a trained network at the level of its deployed integers, with the samples it
    is scored on. `config` is the `flow.config.RobustnessConfig` of the point. All randomness comes from the `numpy.random.Generator`
    `rng`, which is the same for every point of a study with the same data seed, so that perturbations are paired across points.
    ``progress(fraction, text)`` shows life.

Every figure is a degradation, ``perturbed - clean`` paired sample by sample, with the sign turned so that positive is worse, in the unit
of the task score. Ids are ``<score id>_<perturbation>_<level>``, for example ``emd_gauss_10``; the perturbation is the name of the
module, or ``salt`` or ``flip``. Each has a 95 % confidence interval.
"""
