"""Reading files: what is accepted, and every way in which a foreign file can be wrong."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from flow.core.errors import InvalidInput, MissingInput
from flow.twin import describe, load_twin
from flow.twin.ops import OPERATIONS
from flow.twin.remedies import REMEDIES
from tests.qonnx_models import Builder, write_mlp


def small(**quant):
    b = Builder(3)
    x = b.quant("x", 4, 0.25, **{"signed": 0, **quant})
    return b, x


def save(b, y, path):
    return b.save(path / "m.onnx", y)


def test_mlp_by_hand_in_integers(tmp_path):
    """The whole network in numpy integers, with nothing in common with the twin but the file."""
    path = write_mlp(tmp_path / "m.onnx", (4, 5, 3))
    twin = load_twin(path)
    w1, b1, w2, b2 = (np.round(twin.params[n].numpy() * (8 if i % 2 == 0 else 128)).astype(int) for i, n in enumerate(twin.params))
    w1, w2 = np.clip(w1, -7, 7), np.clip(w2, -7, 7)
    x = np.random.default_rng(0).uniform(-0.5, 2.5, (500, 4)).astype(np.float32)
    a = np.clip(np.round(x * 16), 0, 31).astype(int)
    h = np.clip(np.round(np.maximum(a @ w1.T + b1, 0) / 2**3), 0, 31).astype(int)
    y = np.clip(np.round((h @ w2.T + b2) / 2), -128, 127) / 64
    with torch.no_grad():
        assert (twin(twin.params, torch.from_numpy(x)).numpy() == y).all()
    assert [f.role for f in twin.weights.values()] == ["weight", "bias"] * 2
    assert [f.layer.split("_")[0] for f in twin.weights.values()] == ["Gemm"] * 4


def test_injected_codes_are_neither_clamped_nor_scaled(tmp_path):
    b, x = small()
    path = save(b, b.node("MatMul", x, b.weight([[0.25], [0.5], [-1.0]], 3, 0.25)), tmp_path)
    twin = load_twin(path)
    (name,) = twin.params
    assert twin.codes(twin.params)[name].flatten().tolist() == [1, 2, -3]  # narrow: -4 is not a code of the quantizer
    y = twin.forward_codes({name: torch.tensor([[-4], [0], [0]])}, torch.tensor([[1.0, 0.0, 0.0]]))
    assert float(y) == -1.0
    assert twin.output_format is None


def test_codes_can_be_batched(tmp_path):
    twin = load_twin(write_mlp(tmp_path / "m.onnx"))
    codes = twin.codes(twin.params)
    x = torch.rand(6, 4, generator=torch.Generator().manual_seed(0))
    many = {name: torch.stack([c, c.roll(1), c.flip(0)]) for name, c in codes.items()}
    got = torch.func.vmap(twin.forward_codes, (0, None))(many, x)
    for i in range(3):
        assert torch.equal(got[i], twin.forward_codes({n: c[i] for n, c in many.items()}, x))


def test_wide_words_are_computed_in_double(tmp_path):
    b = Builder(300)
    x = b.quant("x", 16, 2.0**-16, signed=0)
    path = save(b, b.node("MatMul", x, b.weight(np.random.default_rng(0).uniform(-1, 1, (300, 1)), 16, 2.0**-15)), tmp_path)
    twin = load_twin(path)
    assert twin.dtype == torch.float64
    x = np.random.default_rng(1).random((50, 300)).astype(np.float32)
    (code,) = (c.numpy() for c in twin.codes(twin.params).values())
    exact = np.round(x.astype(np.float64) * 2**16).clip(0, 2**16 - 1).astype(np.int64) @ code
    assert (twin(twin.params, torch.from_numpy(x)).detach().numpy() == exact / 2.0**31).all()
    single = (x @ (code / 2.0**15).astype(np.float32)).astype(np.float64)
    assert (single != exact / 2.0**31).any()  # float32 would not have been enough


def test_other_forms_of_the_same_graph(tmp_path):
    """Constant nodes instead of initializers, IntQuant, a transposed weight, a channel-shaped bias and a lower-case rounding mode."""
    b = Builder(3)
    x = b.quant("x", 4, 0.25, signed=0, op="IntQuant", rounding_mode="floor")
    w = b.node("Transpose", b.weight(np.eye(3)[:2], 4, [[0.125], [0.125]]), perm=[1, 0])
    y = b.node("Add", b.node("MatMul", x, w), b.weight([[0.25, -0.25]], 4, 0.25))
    y = b.node("Add", y, b.constant([0.0, 0.0]))
    model = b.model(b.quant(b.node("Add", y, y), 6, 0.5))
    for tensor in list(model.graph.initializer):
        model.graph.node.insert(0, helper.make_node("Constant", [], [tensor.name], value=tensor))
        model.graph.initializer.remove(tensor)
    path = tmp_path / "m.onnx"
    onnx.save(model, str(path))
    twin = load_twin(path)
    assert [f.role for f in twin.weights.values()] == ["weight", "bias"]
    assert len({f.layer for f in twin.weights.values()}) == 2
    got = twin(twin.params, torch.tensor([[0.9, 0.3, 1.0]]))
    assert got.tolist() == [[2.0, 0.0]]  # 2 * (0.75 * 0.875 + 0.25) = 1.8125 and 2 * (0.25 * 0.875 - 0.25) = -0.0625


def test_describe(tmp_path):
    rows = describe(write_mlp(tmp_path / "m.onnx", (4, 5, 3), bits=6))
    assert [row["op"] for row in rows] == ["Quant uint ROUND", "Gemm", "Relu", "Quant uint ROUND", "Gemm", "Quant int ROUND"]
    assert rows[1] | {"layer": ""} == {
        "layer": "", "op": "Gemm", "shape": "5x4", "parameters": 25, "weight_bits": 6, "scale_exponent": -5, "bias_bits": 8,
    }  # fmt: skip
    assert (rows[0]["weight_bits"], rows[0]["scale_exponent"], rows[0]["parameters"]) == (5, -4, 0)


def test_missing_and_damaged_files(tmp_path):
    with pytest.raises(MissingInput, match="no such file"):
        load_twin(tmp_path / "nothing.onnx")
    whole = write_mlp(tmp_path / "m.onnx").read_bytes()
    for content in (b"", b"model: not onnx", whole[: len(whole) // 2], whole[:-1], b"\x08\x08"):
        (tmp_path / "bad.onnx").write_bytes(content)
        with pytest.raises(InvalidInput, match=r"bad\.onnx") as error:
            load_twin(tmp_path / "bad.onnx")
        assert "export_qonnx" in str(error.value)
        assert "\n" not in str(error.value)


def test_qcdq_and_float_networks(tmp_path):
    b = Builder(3)
    y = b.node("QuantizeLinear", "x", b.constant(0.1), b.constant(0, np.int8))
    with pytest.raises(InvalidInput, match=r"QCDQ.*export_qonnx"):
        load_twin(save(b, b.node("DequantizeLinear", y, b.constant(0.1), b.constant(0, np.int8)), tmp_path))
    b = Builder(3)
    with pytest.raises(InvalidInput, match="no Quant node"):
        load_twin(save(b, b.node("MatMul", "x", b.constant(np.eye(3))), tmp_path))


def unsupported(b, x):
    return b.node("Sinh", x)


def with_remedy(b, x):
    return b.node("Softmax", x)


def per_channel(b, x):
    return b.quant(x, 4, [[0.125, 0.25, 0.125]])


def float_channel(b, x):
    return b.node("MatMul", x, b.weight(np.eye(3), 4, [[0.125, 0.2, 0.125]]))


def negative_scale(b, x):
    return b.node("MatMul", x, b.weight(np.eye(3), 4, -0.5))


def channel_bits(b, x):
    return b.node("MatMul", x, b.weight(np.eye(3), [4, 5, 6], 0.5))


def curve_without_quantizer(b, x):
    return b.node("Tanh", x)


def sum_of_curves(b, x):
    return b.node("Add", b.node("Relu", b.node("Tanh", x)), x)


def average_of_three(b, x):
    return b.node("ReduceMean", x, b.constant([1], np.int64))


def odd_slope(b, x):
    return b.node("LeakyRelu", x, alpha=0.1)


def division(b, x):
    return b.node("Div", x, b.constant(3.0))


def constant_minus_data(b, x):
    return b.node("Sub", b.constant(1.0), x)


def float_norm(b, x):
    return b.node("BatchNormalization", x, *(b.constant([0.3, 1, 2]) for _ in range(4)))


def trained_norm(b, x):
    return b.node("BatchNormalization", x, *(b.weight([0.25, 1, 1]) for _ in range(4)))


def joined_constant(b, x):
    return b.node("Concat", x, b.weight(np.zeros((2, 3))), axis=1)


def joined_samples(b, x):
    return b.node("Concat", x, x, axis=0)


def axes_from_data(b, x):
    return b.node("Squeeze", x, x)


def float_scale(b, x):
    return b.node("MatMul", x, b.weight(np.eye(3), 4, 0.1))


def float_weight(b, x):
    return b.node("MatMul", x, b.constant(np.random.default_rng(0).normal(size=(3, 3))))


def zero_point(b, x):
    return b.quant(x, 4, 0.5, zero=1.0)


def odd_bits(b, x):
    return b.quant(x, 4.5, 0.5)


def ceil(b, x):
    return b.quant(x, 4, 0.5, rounding_mode="CEIL")


def scale_from_data(b, x):
    return b.node("Quant", x, x, b.constant(0), b.constant(4), domain="qonnx.custom_op.general")


def too_wide(b, x):
    for _ in range(2):
        x = b.node("MatMul", x, b.weight(np.eye(3), 32, 2.0**-20))
    return x


def misfit(b, x):
    return b.node("MatMul", x, b.weight(np.eye(4)))


def fixed_batch(b, x):
    return b.node("Add", x, b.weight(np.zeros((3, 3))))


def shared(b, x):
    w = b.constant(np.eye(3))
    x = b.node("MatMul", x, b.quant(w, 4, 0.125))
    return b.node("MatMul", x, b.quant(w, 5, 0.125))


def dangling(b, x):
    return b.node("Relu", "nowhere")


def twice(b, x):
    b.nodes.append(b.nodes[-1])
    return x


def no_output(b, x):
    return "nothing"


def raw_input(b, x):
    return b.node("MatMul", "x", b.weight(np.eye(3)))


def infinite(b, x):
    return b.node("Add", x, b.constant([np.inf, 0, 0]))


def batch_lost(b, x):
    return b.weight(np.eye(3))


WRONG = {
    unsupported: r"'Sinh_\d' \(Sinh\): .*These can: Add, AveragePool",
    with_remedy: r"'Softmax_\d' \(Softmax\): this operator cannot be used. Leave it off chip",
    per_channel: "'Quant_1'.*2 different values of its scale",
    float_channel: "0.2 of layer 'MatMul_2' is not a power of two",
    negative_scale: "-0.5 of layer 'MatMul_2' is not a power of two",
    channel_bits: "'MatMul_2' has 3 different values of its bit width",
    float_scale: r"0.1 of layer 'MatMul_2' is not a power of two. Train with power-of-two scales, or set network.allow_approximate",
    curve_without_quantizer: "output 'Tanh_1_out' comes from a Tanh",
    sum_of_curves: r"'Add_3' \(Add\): its input 'Relu_2_out' comes from a Tanh or Sigmoid without quantizer",
    average_of_three: "averages 3 values",
    odd_slope: "slope 0.1 is not a binary fraction",
    division: "power of two can divide",
    constant_minus_data: "subtracts data from a constant",
    float_norm: "'BatchNormalization_1'.*Fold it before quantization-aware training, as norm=True of the layers does",
    trained_norm: "parameters are not constants",
    joined_constant: "joins constants",
    joined_samples: "sample axis must stay first",
    axes_from_data: "axes are not a constant",
    float_weight: r"'MatMul_1' \(MatMul\): its constant .* of shape \[3, 3\] is not quantized",
    zero_point: "zero point",
    odd_bits: "4.5 bits",
    ceil: "rounds with CEIL",
    scale_from_data: "scale is not a constant",
    too_wide: "accumulator of 'MatMul_4' needs",
    misfit: "do not fit",
    fixed_batch: "do not fit",
    shared: "quantized in two ways",
    dangling: "made by no earlier node",
    twice: "not unique",
    no_output: "made by no node",
    raw_input: "raw input",
    infinite: "not finite",
    batch_lost: "sample axis",
}


@pytest.mark.parametrize("make", WRONG, ids=lambda f: f.__name__)
def test_wrong_networks_are_explained(make, tmp_path):
    b, x = small()
    path = save(b, make(b, x), tmp_path)
    with pytest.raises(InvalidInput, match=WRONG[make]) as error:
        load_twin(path)
    assert "m.onnx" in str(error.value)
    assert "\n" not in str(error.value)


def test_data_must_be_quantized_somewhere(tmp_path):
    b = Builder(3)
    b.weight(np.eye(3))
    with pytest.raises(InvalidInput, match="raw input"):
        load_twin(save(b, b.node("Relu", "x"), tmp_path))


def test_inputs_and_outputs_are_counted(tmp_path):
    b, x = small()
    model = b.model(x)
    model.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, 3]))
    onnx.save(model, str(tmp_path / "m.onnx"))
    with pytest.raises(InvalidInput, match="2 inputs"):
        load_twin(tmp_path / "m.onnx")
    for shape in ([1, "n"], [1], [1, 2**14, 2**14]):
        model = b.model(x)
        model.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", TensorProto.FLOAT, shape))
        onnx.save(model, str(tmp_path / "m.onnx"))
        with pytest.raises(InvalidInput, match="fixed shape"):
            load_twin(tmp_path / "m.onnx")


def external(tmp_path, location, write=True):
    b, x = small()
    y = b.node("MatMul", x, b.weight(np.eye(3)))
    path = tmp_path / "in" / "m.onnx"
    path.parent.mkdir(exist_ok=True)
    model = b.model(y)
    tensor = next(t for t in model.graph.initializer if list(t.dims) == [3, 3])
    if write:
        (path.parent / location).write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", "36")):
        tensor.external_data.add(key=key, value=value)
    path.write_bytes(model.SerializeToString())
    return path


def test_external_data_only_from_the_same_folder(tmp_path):
    twin = load_twin(external(tmp_path, "m.data"))
    (value,) = twin.params.values()
    assert torch.equal(value, torch.eye(3))
    with pytest.raises(InvalidInput, match="outside the folder"):
        load_twin(external(tmp_path, "../secret"))
    (tmp_path / "target").write_bytes(b"\0" * 36)
    (tmp_path / "in" / "link").symlink_to(tmp_path / "target")
    with pytest.raises(InvalidInput, match="outside the folder"):
        load_twin(external(tmp_path, "link", write=False))
    with pytest.raises(MissingInput, match="Copy it beside"):
        load_twin(external(tmp_path, "gone", write=False))
    (tmp_path / "in" / "short").write_bytes(b"\0" * 8)
    with pytest.raises(InvalidInput, match="cannot be read"):
        load_twin(external(tmp_path, "short", write=False))


def test_a_tensor_that_lies_about_its_size(tmp_path):
    b, x = small()
    model = b.model(b.node("MatMul", x, b.weight(np.eye(3))))
    next(t for t in model.graph.initializer if list(t.dims) == [3, 3]).dims[0] = 10**12
    onnx.save(model, str(tmp_path / "m.onnx"))
    with pytest.raises(InvalidInput, match="cannot be read"):
        load_twin(tmp_path / "m.onnx")


def test_no_remedy_for_what_can_be_used():
    assert not set(REMEDIES) & set(OPERATIONS)
