"""Metrics of the loss landscape, one plug-in a file, found by module name.

A plug-in defines ``TITLE``, and one of the other two names or both.

``TITLE: str``
    Words for a person.

``measure(problem, config, rng, progress) -> dict[str, Metric]``
    `problem` is a `flow.landscape._problem.Problem`: the loss of a trained network at its parameters, as a pure function for
    `torch.func` or double backward, and at many points at once. `config` is the `flow.config.LandscapeConfig` of the point. All
    randomness comes from the `numpy.random.Generator` `rng`, the same for every point of a study with the same data seed, so draws are
    paired. ``progress(fraction, text)`` shows life. The ids of the metrics begin with the name of the module, or contain ``trace`` or
    ``eigen``; that of a single layer contains ``_layer_``. A figure that is sampled has a confidence interval.

``compare(problems, config, rng, progress) -> dict[str, Metric]``
    The same for at least two networks of a study that differ in the training seed only: `problems` has one `Problem` for each, by rising
    seed, with the same samples. Their parameters have the same names and shapes; the formats of their quantizers may differ. What is
    found belongs to each of the networks alike. Only `hlscape sweep` and `hlscape report` compare, after the stages of the points.

Either may leave arrays to be drawn in `problem.records`, under names that begin with that of the module; `compare` in those of the
first problem.
"""
