"""Small QONNX files, written by hand or by Brevitas."""

import functools
import itertools
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Builder:
    """Writes a QONNX file node by node; every method returns the name of the tensor it makes."""

    def __init__(self, *shape: int) -> None:
        self.shape, self.nodes, self.constants = shape, [], []

    def constant(self, value, dtype=np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype=dtype), name))
        return name

    def node(self, op: str, *inputs: str, domain: str = "", **attributes) -> str:
        name = f"{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name + "_out"], name=name, domain=domain, **attributes))
        return name + "_out"

    def quant(self, x: str, bits: float, scale, signed=1, narrow=0, rounding_mode="ROUND", zero=0.0, op="Quant") -> str:
        settings = [self.constant(scale), self.constant(zero), self.constant(bits)]
        return self.node(op, x, *settings, domain="qonnx.custom_op.general", signed=signed, narrow=narrow, rounding_mode=rounding_mode)

    def weight(self, value, bits=4, scale=0.125, narrow=1) -> str:
        return self.quant(self.constant(value), bits, scale, 1, narrow)

    def conv(self, x: str, weight: str, *bias: str, **settings) -> str:
        """Convolve as exporters write it; `settings` replace the defaults, `kernel_shape` has none."""
        rank = len(settings["kernel_shape"])
        default = {"strides": [1] * rank, "pads": [0] * (2 * rank), "dilations": [1] * rank, "group": 1}
        return self.node("Conv", x, weight, *bias, **(default | settings))

    def model(self, output: str):
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, *self.shape])
        y = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
        graph = helper.make_graph(self.nodes, "g", [x], [y], self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("qonnx.custom_op.general", 1)])

    def save(self, path: Path, output: str) -> Path:
        onnx.save(self.model(output), str(path))
        return path


def write_mlp(path: Path, sizes=(4, 5, 3), bits=4, seed=0, bias_bits=8, clip=1.0) -> Path:
    """Quantizer, then Gemm + Relu + quantizer for each layer; `clip` > 1 makes weights exceed their range."""
    rng = np.random.default_rng(seed)
    b = Builder(sizes[0])
    y = b.quant("x", 5, 2.0**-4, signed=0)
    for i, (n, m) in enumerate(itertools.pairwise(sizes)):
        scale = 2.0 ** -(bits - 1)
        w = b.weight(clip * rng.uniform(-1, 1, (m, n)), bits, scale)
        bias = b.weight(rng.uniform(-0.25, 0.25, m), bias_bits, 2.0**-7, narrow=0)
        y = b.node("Gemm", y, w, bias, transB=1)
        if i < len(sizes) - 2:
            y = b.node("Relu", y)
            y = b.quant(y, 5, 2.0**-4, signed=0)
    return b.save(path, b.quant(y, 8, 2.0**-6))


def brevitas_network(rounding: str = "ROUND", clip: float = 1.0, seed: int = 0):
    """A small convolutional Brevitas network with frozen power-of-two scales, in eval() mode."""
    import brevitas.nn as qnn
    import torch
    from brevitas.inject.enum import ScalingImplType
    from brevitas.quant import Int8ActPerTensorFixedPoint, Int8WeightPerTensorFixedPoint, Int16Bias, Uint8ActPerTensorFixedPoint
    from torch import nn

    class Weight(Int8WeightPerTensorFixedPoint):
        scaling_impl_type = ScalingImplType.PARAMETER_FROM_STATS

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layer = {"weight_quant": Weight, "weight_bit_width": 4, "bias": True, "bias_quant": Int16Bias}
        act = {"return_quant_tensor": True, "float_to_int_impl_type": rounding.lower()}
        network = nn.Sequential(
            qnn.QuantIdentity(act_quant=Uint8ActPerTensorFixedPoint, bit_width=6, return_quant_tensor=True),
            qnn.QuantConv2d(1, 3, 3, stride=2, padding=1, **layer),
            qnn.QuantReLU(act_quant=Uint8ActPerTensorFixedPoint, bit_width=4, **act),
            qnn.QuantConv2d(3, 4, (2, 3), **layer),
            qnn.QuantReLU(act_quant=Uint8ActPerTensorFixedPoint, bit_width=4, **act),
            nn.Flatten(),
            qnn.QuantLinear(24, 5, **layer),
            qnn.QuantIdentity(act_quant=Int8ActPerTensorFixedPoint, bit_width=7, **act),
        )
        for _ in range(10):
            network(torch.rand(64, 1, 8, 8))
        network.eval()
        network(torch.rand(2, 1, 8, 8))
    for name, parameter in network.named_parameters():
        if "scaling" in name:
            parameter.requires_grad_(False)
        elif name.endswith("weight"):
            parameter.data *= clip
    return network


def export_brevitas(network, path: Path) -> Path:
    import torch
    from brevitas.export import export_qonnx
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.util.cleanup import cleanup_model

    raw = path.with_suffix(".raw.onnx")
    export_qonnx(network, args=torch.rand(1, 1, 8, 8), export_path=str(raw))
    cleanup_model(ModelWrapper(str(raw))).save(str(path))
    return path


@functools.cache
def _convolutions(rounding: str, clip: float) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return export_brevitas(brevitas_network(rounding, clip), Path(folder) / "network.onnx").read_bytes()


def write_convolutions(path: Path, rounding: str = "ROUND", clip: float = 1.3) -> Path:
    """Write `brevitas_network`; Brevitas and the exporter of torch, which take seconds, run once in a process."""
    path.write_bytes(_convolutions(rounding, clip))
    return path
