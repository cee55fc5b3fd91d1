"""Make the network of a row with one draw of weights, its inputs, and the outputs that must come out."""

from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
import onnx
import torch
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.transformation.infer_shapes import InferShapes
from torch import nn

from flow import gate
from flow.config import NetworkConfig
from flow.core.errors import ConfigError
from flow.core.plugins import load, names
from flow.gate import Values
from flow.matrix.cases import DEFAULTS, INPUT_MAX
from flow.matrix.imported import Imported
from flow.matrix.networks import Case
from flow.quant.approximate import approximate
from flow.quant.brevitas_layers import BrevitasLayers
from flow.quant.calibrate import Scales, calibrate
from flow.quant.export import export
from flow.quant.layers import FloatLayers, fold_norms
from flow.quant.training import predict_exactly, seeded
from flow.twin import Twin, load_twin

TOP = "network"
CALIBRATION = 512
TEXT_ONLY = ("strip_metadata",)  # repairs that change no node
LEAST_DISTINCT = 50  # different outputs; a network that gives fewer would hide errors


@dataclass(frozen=True)
class Sample:
    """A network with one draw of weights.

    Attributes:
        path: QONNX file.
        x: (N, ...) inputs.
        expected: (N, outputs) of Brevitas in float64 or, for a file of another exporter, of the ONNX runtime; of the twin if the file had
            to be approximated.
        repairs: what has to be changed before hls4ml, by id of the repair.
        scales: of the network, to be used for the next draw; None for a file.
        error: largest error of the approximation in units of the last bit of the output; None if there is none.
    """

    path: Path
    x: Values
    expected: Values
    repairs: frozenset[str]
    scales: Scales | None
    error: float | None = None


def make_sample(case: Case | Imported, seed: int, vectors: int, folder: Path, log: TextIO, scales: Scales | None) -> Sample:
    """Make a network, and check that the twin of its file computes what it computes.

    Args:
        case: the row.
        seed: of weights and inputs.
        vectors: number of inputs.
        folder: for the file.
        log: for the words of the exporters.
        scales: of an earlier draw: then the C++ is the same and need not be compiled again. None: calibrate.

    Raises:
        InvalidInput: the file cannot be used.
        MismatchError: the twin differs.
        ConfigError: the outputs of the case hardly differ.
    """
    rng = np.random.default_rng([seed, *case.id.encode()])
    path, changes = folder / f"{TOP}_{seed}.onnx", dict[str, int]()
    if isinstance(case, Imported):
        _write(case, seed, path)
    else:
        network, scales = _brevitas(case, rng, scales)
        changes = export(network, torch.zeros(1, *case.shape), path, log)
    twin = load_twin(path)
    x = _vectors(twin, vectors, rng)
    with torch.no_grad():
        got = gate.words(twin(twin.params, torch.from_numpy(x)).double().numpy())
    reference = _run_onnx(case.model(seed, len(x)), x) if isinstance(case, Imported) else gate.words(predict_exactly(network, x).numpy())
    if len(np.unique(reference, axis=0)) < LEAST_DISTINCT:
        raise ConfigError(f"case '{case.id}', seed {seed}: its outputs hardly differ, so it shows nothing. Change the case.")
    lsb = twin.output_format.scale if twin.output_format else 1.0
    repairs = _repairs(path) | {name for name, count in changes.items() if count and name not in TEXT_ONLY}
    if isinstance(case, Imported) and case.approximate:
        return Sample(path, x, got, repairs, scales, float(np.abs(got - reference).max() / lsb))
    count, where = gate.mismatches(reference, got)
    if where is not None:
        raise gate.report("twin", "Brevitas or the ONNX runtime", reference, got, "output", where, count)
    return Sample(path, x, reference, repairs, scales)


def _write(case: Imported, seed: int, path: Path) -> None:
    """Write a file of another exporter, and approximate it if the row is about that."""
    model = case.model(seed)
    onnx.save(model, str(path))
    load_twin(path, approximate=case.approximate)
    if case.approximate:
        approximate(model)
        onnx.save(model, str(path))


def _inputs(rng: np.random.Generator, count: int, shape: tuple[int, ...], low: float) -> np.ndarray:
    """Draw inputs whose channels have amplitudes of their own, so that averages differ from sample to sample."""
    amplitude = rng.uniform(0.2, 1, (count, shape[0], *[1] * (len(shape) - 1)))
    return (rng.uniform(low, INPUT_MAX, (count, *shape)) * amplitude).astype(np.float32)


def _vectors(twin: Twin, count: int, rng: np.random.Generator) -> Values:
    low = -INPUT_MAX if twin.input_format.signed else 0.0
    return gate.vectors(_inputs(rng, count, twin.input_shape, low), count, twin.input_format, rng)


def _draw(network: nn.Module) -> None:
    """Replace initial weights that would leave a ReLU dead, and give batch normalisation something to do."""
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d):
                layer.weight -= layer.weight.mean(dim=tuple(range(1, layer.weight.ndim)), keepdim=True)
                if layer.bias is not None:
                    layer.bias.abs_().mul_(0.25)
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                mean, variance = layer.get_buffer("running_mean"), layer.get_buffer("running_var")
                for values, low, high in ((layer.weight, 0.5, 1.5), (layer.bias, 0.0, 0.2), (mean, -0.1, 0.1), (variance, 0.05, 0.2)):
                    values.uniform_(low, high)


def _brevitas(case: Case, rng: np.random.Generator, scales: Scales | None) -> tuple[nn.Module, Scales]:
    """Draw a float network, calibrate it, and return it in Brevitas."""
    config = NetworkConfig.model_validate({**DEFAULTS, **case.network})
    floats = FloatLayers(config)
    with seeded(rng):
        network = case.make(floats)
        _draw(network)
        fold_norms(network)
        if scales is None:
            x = _inputs(rng, CALIBRATION, case.shape, -INPUT_MAX if case.signed else 0.0)
            found = calibrate(network, floats, torch.from_numpy(x), INPUT_MAX)
            exponents = dict(found.exponents)
            case.adjust(exponents)
            scales = Scales(exponents, found.feeds)
        result = case.make(BrevitasLayers(config, scales)).eval()
    own = result.state_dict()
    result.load_state_dict({name: value for name, value in network.state_dict().items() if name in own}, strict=False)
    return result, scales


def _run_onnx(model: onnx.ModelProto, x: Values) -> Values:
    """Execute a file as it is, all samples at once."""
    graph = ModelWrapper(model).transform(InferShapes())
    result = execute_onnx(graph, {"x": x.astype(np.float32)})[graph.graph.output[0].name]
    return gate.words(np.asarray(result, np.float64))


def _repairs(path: Path) -> frozenset[str]:
    """Name the repairs that change something in the file."""
    model = onnx.load(str(path))
    return frozenset(name for name in names("quant.repairs") if load("quant.repairs", name).apply(model) and name not in TEXT_ONLY)
