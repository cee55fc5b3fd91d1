"""ONNX Runtime computes a QONNX graph, each Quant node written out in standard operators: nothing in common with the twin."""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper


def _written_out(node, known):
    zero, bits = (known[name] for name in node.input[2:])
    a = {x.name: helper.get_attribute_value(x) for x in node.attribute}
    assert not zero.any()
    low = -(2 ** (bits - 1)) + a["narrow"] if a["signed"] else 0 * bits
    high = 2 ** (bits - 1) - 1 if a["signed"] else 2**bits - 1 - a["narrow"]
    y = node.output[0]
    round_ = {"ROUND": "Round", "FLOOR": "Floor"}[a["rounding_mode"].decode().upper()]
    ends = [numpy_helper.from_array(np.float32(np.ravel(v)[0]), f"{y}_{k}") for k, v in (("low", low), ("high", high))]
    return ends, [
        helper.make_node("Div", [node.input[0], node.input[1]], [f"{y}_1"]),
        helper.make_node(round_, [f"{y}_1"], [f"{y}_2"]),
        helper.make_node("Clip", [f"{y}_2", f"{y}_low", f"{y}_high"], [f"{y}_3"]),
        helper.make_node("Mul", [f"{y}_3", node.input[1]], [y]),
    ]


def evaluate(model, x):
    """Compute the outputs of samples (N, ...), flat."""
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    for node in copy.graph.node:
        if node.op_type == "Constant":
            node.attribute[0].t.name = node.output[0]
            copy.graph.initializer.append(node.attribute[0].t)
    known = {t.name: numpy_helper.to_array(t) for t in copy.graph.initializer}
    nodes = []
    for node in copy.graph.node:
        if node.op_type in ("Quant", "IntQuant"):
            ends, new = _written_out(node, known)
            copy.graph.initializer.extend(ends)
            nodes += new
        elif node.op_type != "Constant":
            nodes.append(node)
    nodes = [onnx.NodeProto.FromString(n.SerializeToString()) for n in nodes]
    del copy.graph.node[:], copy.graph.value_info[:]
    copy.graph.node.extend(nodes)
    copy.graph.output[0].CopyFrom(helper.make_tensor_value_info(copy.graph.output[0].name, TensorProto.FLOAT, None))
    copy.ir_version = 10
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(copy.SerializeToString(), options)
    source = session.get_inputs()[0]
    return np.stack([session.run(None, {source.name: row.reshape(source.shape)})[0].ravel() for row in x])


def words(n, shape, bits=6, scale=2.0**-3, signed=False, seed=1):
    """Random input words on a grid."""
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if signed else (0, 2**bits)
    return (np.random.default_rng(seed).integers(low, high, (n, *shape)) * scale).astype(np.float32)


def operators(model):
    return [node.op_type for node in model.graph.node]
