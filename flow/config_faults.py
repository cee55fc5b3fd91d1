"""Tables of a design point on perturbations, upsets and protection."""

from typing import Annotated, Literal

from pydantic import Field

from flow.config_base import NOT_IN_KEY, Positive, Section, plugins_of
from flow.core.plugins import names

Levels = Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1, strict=False)]


class RobustnessConfig(Section):
    """Perturbations, how strong they are, and how often they are drawn.

    Attributes:
        perturbations: plug-ins of `flow.robustness`; all of them when left out.
        levels: strengths by plug-in, in the unit that its file names, instead of those of the plug-in.
        samples: test samples that are scored under perturbations of the inputs.
        noise_percent: levels of the noise after the method of Baldi et al., in percent.
        noise_draws: independent draws of a noise per level.
        noise_file: recorded noise: CSV, NPY or HDF5, one record a row, one column for each input; None: there is none.
        noise_unit: what the numbers of that file are: ``input`` (of the network, normalised) or ``detector`` (units of the detector).
        noise_fit: draw whole records (``bootstrap``), or normal numbers with their means and covariance (``covariance``).
        flips: numbers of bits flipped at once.
        trials: most sets of bits, or of other faults, per level.
        relative_error: no more are drawn when the interval's half-width is this small relative to the mean.
        flip_samples: test samples scored per set.
        map_samples: test samples scored for each single bit of the criticality map.
        rankings: how the weights of ranked flips are ordered, whose sign bits flip first: by ``gradient``, by ``taylor`` (the square of
            gradient times weight), or by ``fkeras`` (top Hessian eigenvector); or which bits: ``exact``, by the harm of each alone.
        tolerance: a drop of the task score is visible from this share of its clean value on.
        environment: a row of `flow/robustness/upset_rates.toml`, or ``""``: all of them.
        upset_rate: upsets per bit and day, if you know it better than that table.
        engine: ``compiled`` is generated C++ where the network allows it; ``twin`` is torch.
        memory_gb: most memory of a batch, in GiB.
    """

    perturbations: Annotated[tuple[str, ...], plugins_of("robustness")] = Field(
        default_factory=lambda: tuple(names("robustness")), strict=False
    )
    levels: Annotated[dict[str, Levels], plugins_of("robustness")] = Field(default_factory=dict)
    samples: Positive = 1000
    noise_percent: tuple[Annotated[float, Field(gt=0, le=100)], ...] = Field(default=(5.0, 10.0, 20.0, 30.0), strict=False)
    noise_draws: Annotated[int, Field(ge=2)] = 5
    noise_file: str | None = Field(default=None, json_schema_extra=NOT_IN_KEY)
    noise_unit: Literal["input", "detector"] = "input"
    noise_fit: Literal["bootstrap", "covariance"] = "bootstrap"
    flips: tuple[Positive, ...] = Field(default=(1, 5, 20), strict=False)
    trials: Annotated[int, Field(ge=2)] = 400
    relative_error: Annotated[float, Field(gt=0, lt=1)] = 0.1
    flip_samples: Positive = 128
    map_samples: Positive = 64
    rankings: tuple[Literal["gradient", "taylor", "fkeras", "exact"], ...] = Field(
        default=("gradient", "taylor", "fkeras", "exact"), strict=False
    )
    tolerance: Annotated[float, Field(gt=0, le=1)] = 0.1
    environment: str = ""
    upset_rate: Annotated[float, Field(gt=0)] | None = None
    engine: Literal["compiled", "twin"] = "compiled"
    memory_gb: Annotated[float, Field(gt=0.01)] = Field(default=0.5, json_schema_extra=NOT_IN_KEY)


class RegistersConfig(Section):
    """Upsets of the pipeline registers of the RTL, each for one clock cycle; with the open back end.

    Attributes:
        flips: register bits that are drawn, each with a sample; 0: the stage is left out.
        rtl_flips: of these, how many are also injected into the simulated Verilog.
    """

    flips: Annotated[int, Field(ge=0)] = 0
    rtl_flips: Annotated[int, Field(ge=1)] = 64


class ProtectionConfig(Section):
    """Hardened designs that are built and priced; with the open back end.

    Attributes:
        methods: ``tmr`` triplicates weight bits and votes, ``ecc`` keeps check bits of weight words, ``registers`` triplicates pipeline
            registers, ``clip`` bounds activations, and output words, to their range on the training samples, by channel; none: the stage is
            left out.
        shares: shares of the weight bits that are protected, the most critical ones first.
    """

    methods: tuple[Literal["tmr", "ecc", "registers", "clip"], ...] = Field(default=(), strict=False)
    shares: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(default=(0.01, 0.02, 0.05, 0.1, 0.25, 1.0), strict=False)
