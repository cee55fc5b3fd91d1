"""Design point and study as frozen pydantic models; `flow.points` reads them from files."""

import math
from typing import Annotated, Any, Literal

import pydantic
from pydantic import AfterValidator, Field, field_validator

from flow.config_base import NOT_IN_KEY, Positive, plugins_of
from flow.config_base import Section as Section  # noqa: PLC0414  # a name of this module for others
from flow.config_faults import ProtectionConfig as ProtectionConfig  # noqa: PLC0414
from flow.config_faults import RegistersConfig as RegistersConfig  # noqa: PLC0414
from flow.config_faults import RobustnessConfig as RobustnessConfig  # noqa: PLC0414
from flow.core.plugins import names
from flow.imported.point import check_point

SAFE_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,80}$"
Bits = Annotated[int, Field(ge=2, le=16)]


def _strength(given: Any) -> Any:  # noqa: ANN401 - a number, or a table of them
    """Check the strength of a regularizer and its options, as far as that goes without loading it."""
    table = given if isinstance(given, dict) else {"strength": given}
    numbers = [n for n in table.values() if isinstance(n, int | float) and math.isfinite(n) and (n > 0 or isinstance(n, bool))]
    if "strength" not in table or len(numbers) < len(table):
        raise ValueError("a positive number is needed, or a table of them such as {strength = 0.1}")
    return given


class LayerConfig(Section):
    """What one layer or quantizer has instead of the network's default.

    Attributes:
        bits: width of its weights, or of its output words if it has none.
        rounding: ROUND or FLOOR.
    """

    bits: Bits | None = None
    rounding: Literal["ROUND", "FLOOR"] | None = None


class NetworkConfig(Section):
    """The quantized network.

    Attributes:
        size: a size that the model offers.
        weight_bits: width of every weight, signed, narrow range.
        activation_bits: width of hidden activations, unsigned; None: the same as the weights.
        input_bits: width of the input words; the host rounds to this grid.
        latent_bits: width of the output words.
        bias_bits: width of the biases, at the scale of the accumulator; None: 16, or more where that would clip them.
        rounding: ROUND (half to even) or FLOOR for hidden activations and the output. FLOOR needs no adder.
        scales: how the power-of-two scales are found: ``mse`` loses least in mean square on the float network, ``max`` never clips what
            the float network showed, ``learned`` starts from ``mse`` and trains them with the weights.
        per_channel: one weight scale per output channel instead of one per tensor.
        layers: mixed precision: settings of single layers by name.
        allow_approximate: lower an imported network although a scale is no power of two; the report then has the measured error.
    """

    size: str = "baseline"
    weight_bits: Bits = 6
    activation_bits: Bits | None = None
    input_bits: Bits = 8
    latent_bits: Bits = 9
    bias_bits: Annotated[int, Field(ge=4, le=32)] | None = None
    rounding: Literal["ROUND", "FLOOR"] = "ROUND"
    scales: Literal["mse", "max", "learned"] = "mse"
    per_channel: bool = False
    layers: dict[str, LayerConfig] = Field(default_factory=dict)
    allow_approximate: bool = False

    @property
    def hidden_bits(self) -> int:
        """Width of hidden activations after the default is applied."""
        return self.weight_bits if self.activation_bits is None else self.activation_bits


class DataConfig(Section):
    """Where samples come from and how they are split.

    Attributes:
        path: data file or folder in the detector's format; None: the model's generator.
        samples: how many samples to generate, or the most to read from `path`.
        seed: of generation and of the split. Points of a study share it, so their test sets are the same.
        split: fractions of train, validation, test.
    """

    path: str | None = Field(default=None, json_schema_extra=NOT_IN_KEY)
    samples: Annotated[int, Field(ge=200, le=10_000_000)] = 24_000
    seed: Annotated[int, Field(ge=0)] = 42
    split: tuple[float, float, float] = Field(default=(0.8, 0.1, 0.1), strict=False)

    @field_validator("split")
    @classmethod
    def _fractions(cls, value: tuple[float, float, float]) -> tuple[float, float, float]:
        if min(value) <= 0 or abs(sum(value) - 1) > 1e-9:
            raise ValueError("three positive fractions that add up to 1 are needed")
        return value


class TrainConfig(Section):
    """Float pre-training, then quantization-aware training with Adam.

    Attributes:
        pretrain_epochs: most epochs in float.
        epochs: most epochs with quantizers.
        batch: samples per step.
        learning_rate: at the start of each of the two trainings.
        schedule: ``cosine`` to zero, ``step`` (halved four times), or ``constant``.
        select: keep the epoch with the best task ``score`` or ``loss`` on the validation set, or the ``last`` one; both look at clean
            samples, so a regularizer that trains for faults may want the last.
        patience: stop after so many epochs without a better one.
    """

    pretrain_epochs: Annotated[int, Field(ge=0, le=10_000)] = 15
    epochs: Annotated[int, Field(ge=1, le=10_000)] = 15
    batch: Positive = 128
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 5e-3
    schedule: Literal["cosine", "step", "constant"] = "cosine"
    select: Literal["score", "loss", "last"] = "score"
    patience: Positive = 8


class PruningConfig(Section):
    """Weights that are set to zero during quantization-aware training.

    Attributes:
        sparsity: fraction of the on-chip weights; 0: none.
        by: what a weight is worth: its ``magnitude``, or that per ``lut`` or ``dsp`` cost of its integer code.
    """

    sparsity: Annotated[float, Field(ge=0, lt=1)] = 0.0
    by: Literal["magnitude", "lut", "dsp"] = "magnitude"


class HardwareConfig(Section):
    """Target of synthesis.

    Attributes:
        backend: a synthesis back end (`hlscape list backends`).
        io: ``parallel`` unrolls the whole network; ``stream`` feeds one pixel after the other through it.
        part: FPGA part.
        clock_ns: target clock period.
        clock_uncertainty: share of the period, in percent, that high-level synthesis leaves free for routing.
        reuse_factor: how often high-level synthesis uses one multiplier for a sample; with ``resource`` hls4ml takes the nearest that fits.
        strategy: of hls4ml: ``latency`` unrolls, ``resource`` keeps the weights in memories, ``distributed_arithmetic`` makes adder trees.
        logic_per_stage: most delay units of alkaid between two pipeline registers; None: as many as `clock_ns` allows by an estimate.
        dsp: open synthesis may map products of two signals to DSP slices. Products with weights are shifts and sums of adders in the
            RTL already, so they take none.
        axi_stream: an AXI-Stream wrapper around the Verilog, in `axis/` beside it.
        estimate: of the back end ``estimate``: ``counted`` in milliseconds, or ``traced`` with alkaid's adder trees, which takes seconds
            and has narrower intervals.
        frame_rate_hz: of ``stream``: frames per second that must be kept up with; a frame then has ``1 / (clock * rate)`` cycles, and
            layers with time to spare use their multipliers again. None: a frame has one cycle for each of its pixels, padding included.
        reuse: of ``stream``: cycles in which a layer computes one of its pixels, by layer, in the place of what the flow would choose;
            1: unrolled.
        reuse_for: of ``stream``: what the flow's choice saves: look-up tables (``lut``), or first of all DSP slices (``dsp``).
    """

    backend: Annotated[str, plugins_of("synth")] = "open"
    io: Literal["parallel", "stream"] = "parallel"
    part: str = "xcku115-flvb2104-2-i"
    clock_ns: Annotated[float, Field(gt=0.5, le=1000)] = 5.0
    clock_uncertainty: Annotated[float, Field(ge=0, le=90)] = 27.0
    reuse_factor: Positive = 1
    strategy: Literal["latency", "resource", "distributed_arithmetic"] = "latency"
    logic_per_stage: Annotated[float, Field(gt=0, le=1000)] | None = None
    dsp: bool = False
    axi_stream: bool = False
    estimate: Literal["counted", "traced"] = "counted"
    frame_rate_hz: Annotated[float, Field(ge=1e-3)] | None = None
    reuse: dict[str, Positive] = {}  # noqa: RUF012 - pydantic copies it for each point
    reuse_for: Literal["lut", "dsp"] = "lut"

    @pydantic.model_validator(mode="after")
    def _streamed(self) -> "HardwareConfig":
        """Refuse settings of streaming RTL where there is none, and those that contradict each other."""
        given = {"frame_rate_hz": self.frame_rate_hz is not None, "reuse": bool(self.reuse), "reuse_for": self.reuse_for != "lut"}
        keys = ", ".join(key for key, there in given.items() if there)
        if keys and self.io != "stream":
            raise ValueError(f"{keys}: a network that is unrolled as a whole has nothing to use again. Leave it out, or set io = 'stream'")
        if keys and self.backend == "vitis":
            raise ValueError(f"{keys}: only for the flow's own Verilog. The hls4ml project has reuse_factor and strategy instead")
        if self.frame_rate_hz is not None and self.frame_rate_hz * self.clock_ns > 1e9:
            raise ValueError(f"frame_rate_hz = {self.frame_rate_hz:g}: a frame is shorter than a cycle of {self.clock_ns:g} ns")
        if self.reuse_for == "dsp" and not self.dsp:
            raise ValueError(
                "reuse_for = 'dsp': no DSP slice is used without dsp = true, so there is nothing to save. Set it, or leave this out"
            )
        return self


class GateConfig(Section):
    """How many samples the exactness gate compares.

    Attributes:
        samples: in software and in the mapped netlist, of a stream at most 128 in the latter.
        rtl_samples: in simulated Verilog.
        waveform: keep what every signal of the Verilog does over the first vectors, as a VCD file; with the open back end.
    """

    samples: Annotated[int, Field(ge=64)] = 4096
    rtl_samples: Annotated[int, Field(ge=16)] = 256
    waveform: bool = Field(default=False, json_schema_extra=NOT_IN_KEY)


class VendorConfig(Section):
    """What the vendor's tools do, and what they may use; only the back end ``vitis`` looks at it.

    Attributes:
        cosim: simulate the RTL of high-level synthesis, and count its latency.
        vsynth: out-of-context run of Vivado: none, up to synthesis, or up to a routed design.
        max_unrolled: most multiplications, words or array elements of one layer that are unrolled.
        max_unrolled_total: the same of all layers together.
        max_hours: of one run of one program.
        max_gb: memory of one run, in GiB, with all its processes; None: any.
        licence_retries: how often a run without a licence is tried again.
        licence_wait_s: seconds before it is.
    """

    cosim: bool = False
    vsynth: Literal["off", "synth", "route"] = "synth"
    max_unrolled: Positive = Field(default=4096, json_schema_extra=NOT_IN_KEY)
    max_unrolled_total: Positive = Field(default=32_768, json_schema_extra=NOT_IN_KEY)
    max_hours: Annotated[float, Field(gt=0)] = Field(default=24.0, json_schema_extra=NOT_IN_KEY)
    max_gb: Annotated[float, Field(gt=0)] | None = Field(default=None, json_schema_extra=NOT_IN_KEY)
    licence_retries: Annotated[int, Field(ge=0)] = Field(default=5, json_schema_extra=NOT_IN_KEY)
    licence_wait_s: Annotated[float, Field(ge=0)] = Field(default=60.0, json_schema_extra=NOT_IN_KEY)


class RouteConfig(Section):
    """Place and route with nextpnr, which only ECP5 parts have.

    Attributes:
        seeds: runs with different random placements; the fastest one is kept.
        pins: package pins of the bitstream's ``clk``, ``din``, ``load`` and ``dout``, or of a stream ``clk``, ``aresetn``, ``din``,
            ``ready`` and ``dout``, 3.3 V; those left out go where nextpnr likes.
        max_hours: of one run.
    """

    seeds: Annotated[int, Field(ge=1, le=64)] = 1
    pins: dict[Literal["clk", "aresetn", "din", "load", "ready", "dout"], Annotated[str, Field(pattern=r"^[A-Z]{0,2}[0-9]{1,3}$")]] = Field(
        default_factory=dict
    )
    max_hours: Annotated[float, Field(gt=0)] = Field(default=4.0, json_schema_extra=NOT_IN_KEY)


class LandscapeConfig(Section):
    """Metrics of the loss landscape.

    Attributes:
        metrics: plug-ins of `flow.landscape`; all of them when left out.
        samples: test samples the loss is averaged over.
        relative_error: a sampled figure stops when its standard error is this small relative to it.
        probes: most random vectors of a sampled figure.
        sharpness_steps: radii of the sharpness, in steps (LSB) of the deployed weights.
        eigenvalues: how many of the largest eigenvalues are found, with their vectors.
        surface_points: points along each axis of a slice, odd, so that one is the centre.
        surface_radius: half width of a slice along filter-normalised random directions, relative to the norm of each filter.
        surface_planes: random planes that the figures of a slice are averaged over.
        connectivity_epochs: epochs in which a curve between two seeds is trained; 0: the straight line only.
        connectivity_bends: points that define a curve, its two ends among them.
        engine: ``compiled`` is generated C++ where the network allows it; ``twin`` is torch.
        memory_gb: most memory of a batch, in GiB.
    """

    metrics: Annotated[tuple[str, ...], plugins_of("landscape")] = Field(default_factory=lambda: tuple(names("landscape")), strict=False)
    samples: Positive = 1024
    relative_error: Annotated[float, Field(gt=0, lt=1)] = 0.02
    probes: Annotated[int, Field(ge=2)] = 64
    sharpness_steps: tuple[Annotated[float, Field(gt=0, le=64)], ...] = Field(default=(0.5, 1.0, 2.0), strict=False)
    eigenvalues: Annotated[int, Field(ge=1, le=100)] = 5
    surface_points: Annotated[int, Field(ge=3, le=1001)] = 51
    surface_radius: Annotated[float, Field(gt=0, le=10)] = 1.0
    surface_planes: Annotated[int, Field(ge=2, le=64)] = 4
    connectivity_epochs: Annotated[int, Field(ge=0, le=10_000)] = 30
    connectivity_bends: Annotated[int, Field(ge=3, le=16)] = 3
    engine: Literal["compiled", "twin"] = "compiled"
    memory_gb: Annotated[float, Field(gt=0.01)] = Field(default=1.0, json_schema_extra=NOT_IN_KEY)

    @field_validator("surface_points")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError("an odd number is needed, so that one point is the centre")
        return value


class DesignPoint(Section):
    """One network, trained in one way, for one target. See the attributes of each table.

    Attributes:
        model: folder of `models/`, or the path of one elsewhere.
        onnx: QONNX file of a network that was trained elsewhere, in the place of `model`; `data.path` is its data file then.
        seed: of initial weights and training order.
        regularizers: strength of each regularizer of `flow.regularizers`, or a table with ``strength`` and its options.
        compat: ``pylandscape`` adds the figures that the released code of Baldi et al. would give, for comparison only.
    """

    model: str = ""
    onnx: Annotated[str, Field(validate_default=True)] = ""
    name: Annotated[str, Field(pattern=SAFE_NAME)] = "point"
    seed: Annotated[int, Field(ge=0)] = 0
    network: NetworkConfig = NetworkConfig()
    data: DataConfig = DataConfig()
    train: TrainConfig = TrainConfig()
    pruning: PruningConfig = PruningConfig()
    regularizers: Annotated[dict[str, Annotated[Any, AfterValidator(_strength)]], plugins_of("regularizers")] = Field(default_factory=dict)
    hardware: HardwareConfig = HardwareConfig()
    gate: GateConfig = GateConfig()
    vendor: VendorConfig = VendorConfig()
    route: RouteConfig = RouteConfig()
    landscape: LandscapeConfig = LandscapeConfig()
    robustness: RobustnessConfig = RobustnessConfig()
    registers: RegistersConfig = RegistersConfig()
    protection: ProtectionConfig = ProtectionConfig()
    compat: Literal["", "pylandscape"] = ""

    @field_validator("onnx")
    @classmethod
    def _one_network(cls, value: str, info: pydantic.ValidationInfo) -> str:
        if bool(value) == bool(info.data.get("model")):
            raise ValueError("give either model, a folder of models/, or onnx, a QONNX file of a network that was trained elsewhere")
        return value

    _imported = pydantic.model_validator(mode="after")(check_point)


class ScreenConfig(Section):
    """How `hlscape screen` predicts degradations from short trainings.

    Attributes:
        budget: epochs of the short training as a share of the full one.
        metrics: ids of the landscape scores that predict; empty: all of them.
        targets: ids of the degradations that are predicted; empty: the middle level of each perturbation that stands for all.
    """

    budget: Annotated[float, Field(gt=0, le=1)] = 0.1
    metrics: tuple[str, ...] = Field(default=(), strict=False)
    targets: tuple[str, ...] = Field(default=(), strict=False)


class Study(Section):
    """Many design points: the product of the axes over a base point.

    Attributes:
        point: TOML file of the base point, relative to the study's file.
        axes: dotted key -> values.
        screen: of `hlscape screen`.
    """

    name: Annotated[str, Field(pattern=SAFE_NAME)]
    point: str
    axes: dict[str, list[Any]] = Field(default_factory=dict)
    screen: ScreenConfig = ScreenConfig()
