"""hls4ml projects: a round trip of our own, the dialect of old versions, and folders that are damaged."""

import io
import shutil
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.hls4ml_sums import evaluate, exact_sums
from benchmarks.vendor_networks import NETWORKS
from flow.core.errors import FlowError, InvalidInput, MissingInput
from flow.hls.convert import convert
from flow.rtl.graph import FixedType
from flow.rtl.lower import lower
from flow.vendor.cpp import fixed_type
from flow.vendor.firmware import read_project, read_vectors
from tests.hls.networks import Layers, everything

PART = "xcku115-flvb2104-2-i"
REPORTS = Path(__file__).resolve().parents[3] / "shared" / "reports"
real = pytest.mark.skipif(not REPORTS.is_dir(), reason="no folder of reports")


def same(graph, other):
    """Equal but for the names of flattenings, which have no code."""
    names = dict(zip([x.name for x in graph.layers], [y.name for y in other.layers], strict=True))
    for a, b in zip(graph.layers, other.layers, strict=True):
        assert tuple(names[i] for i in a.inputs) == b.inputs
        assert a.kind == "Reshape" or a.name == b.name
        assert replace(a, name="", inputs=(), weights={}) == replace(b, name="", inputs=(), weights={})
        assert {k: t for k, (_, t) in a.weights.items()} == {k: t for k, (_, t) in b.weights.items()}
        assert all(np.array_equal(a.weights[k][0], b.weights[k][0]) for k in a.weights)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    b = Layers(2, 4, 4)
    path = b.save(folder / "net.onnx", b.output(b.dense(b.flat(b.relu(b.conv(b.input(), 2, 2, 3, 3, stride=2))), 2, 3)))
    return folder / "project", convert(path, folder / "project", "net", PART, 5.0, "parallel", io.StringIO())


@pytest.mark.parametrize("form", ["parallel", "stream"])
def test_a_project_of_ours_gives_the_graph_it_was_made_of(tmp_path, form):
    graph = convert(everything(tmp_path / "net.onnx"), tmp_path / "project", "net", PART, 5.0, form, io.StringIO())
    found = read_project(tmp_path / "project")
    assert found.left_out == ()
    same(graph, found.graph)


def copy(folder, to):
    shutil.copytree(folder, to, ignore=shutil.ignore_patterns("ap_types", "nnet_utils"))


def test_a_changed_weight_is_seen(project, tmp_path):
    folder, graph = project
    copy(folder, tmp_path / "copy")
    file = sorted((tmp_path / "copy" / "firmware" / "weights").glob("w*.txt"))[0]
    words = file.read_text().split(", ")
    words[0] = "0.125" if float(words[0]) != 0.125 else "0.25"
    file.write_text(", ".join(words))
    same(graph, read_project(folder).graph)
    with pytest.raises(AssertionError):
        same(graph, read_project(tmp_path / "copy").graph)


def edit(folder, name, change):
    file = folder / "firmware" / name
    file.write_text(change(file.read_text()))


def drop(folder, pattern):
    for file in (folder / "firmware").glob(pattern):
        file.unlink()


def weights(folder, pattern, change):
    file = next((folder / "firmware").glob(f"weights/{pattern}.txt"))
    file.write_text(change(file.read_text()))


DAMAGE = {
    "no C++": (lambda f: drop(f, "*.cpp"), "no C.. file with the layers"),
    "no parameters": (lambda f: drop(f, "parameters.h"), "parameters.h: there is no such file"),
    "no weights": (lambda f: drop(f, "weights/w*.txt"), r"w\d+.txt: there is no such file"),
    "no layers": (lambda f: edit(f, "net.cpp", lambda t: t.replace("nnet::", "other::")), "0 of 1 C.. files have layers"),
    "no bytes": (lambda f: [(f / "firmware" / n).write_bytes(b"") for n in ("defines.h", "parameters.h", "net.cpp")], "0 of 1 C"),
    "binary": (lambda f: (f / "firmware" / "defines.h").write_bytes(b"\xff\xfe\x00"), "defines.h: this is not a text file"),
    "unknown layer": (lambda f: edit(f, "net.cpp", lambda t: t.replace("nnet::dense<", "nnet::transformer<")), "transformer.*not known"),
    "unknown type": (lambda f: edit(f, "defines.h", lambda t: t.replace("ap_fixed", "double_double")), "is not defined as ap_fixed"),
    "rounding": (lambda f: edit(f, "defines.h", lambda t: t.replace("AP_RND_CONV", "AP_RND_ZERO")), "rounding must be one of"),
    "width": (lambda f: edit(f, "defines.h", lambda t: t.replace("fixed<5,", "fixed<900,")), "the width must be"),
    "short": (lambda f: weights(f, "w*", lambda t: t[: len(t) // 2]), r"w\d+.txt: \d+ numbers, where the layer has"),
    "words": (lambda f: weights(f, "w*", lambda t: "a, b"), "numbers separated by commas"),
    "nan": (lambda f: weights(f, "b*", lambda t: "nan" + t[t.index(",") :]), "is not finite"),
    "sizes": (lambda f: edit(f, "parameters.h", lambda t: t.replace("n_in = 2;", "n_in = 3;")), "it takes 3 words"),
    "huge": (lambda f: edit(f, "parameters.h", lambda t: t.replace("n_out = 3;", "n_out = 99999999;")), "larger than"),
    "expression": (lambda f: edit(f, "parameters.h", lambda t: t.replace("n_out = 3;", "n_out = system(1);")), "not a product of numbers"),
    "no entry": (lambda f: edit(f, "parameters.h", lambda t: t.replace("n_out", "other")), "has no 'n_out'"),
    "order": (lambda f: edit(f, "net.cpp", lambda t: t.replace("(global_in,", "(nothing,")), "which no layer before it writes"),
}  # fmt: skip


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_project_says_what_is_wrong(project, tmp_path, kind):
    copy(project[0], tmp_path / "copy")
    damage, words = DAMAGE[kind]
    damage(tmp_path / "copy")
    with pytest.raises(FlowError, match=words):
        read_project(tmp_path / "copy")


def test_random_cuts_give_typed_errors_only(project, tmp_path):
    rng = np.random.default_rng(0)
    for name in ("net.cpp", "parameters.h", "defines.h"):
        text = (project[0] / "firmware" / name).read_text()
        for cut in rng.integers(0, len(text), 12):
            folder = tmp_path / f"{name}{cut}"
            copy(project[0], folder)
            (folder / "firmware" / name).write_text(text[:cut])
            with suppress(FlowError):
                read_project(folder)


def test_a_file_that_is_meant_to_take_long_does_not(tmp_path):
    for text in ("/*" * 300_000, "struct a : b {\n" * 100_000, "typedef ap_fixed<1,1> " * 100_000, "nnet::f<a>(b" * 100_000):
        start = time.process_time()
        for name in ("defines.h", "parameters.h", "myproject.cpp"):
            edit(old(tmp_path), name, lambda t, text=text: t + text)
        with suppress(FlowError):
            read_project(tmp_path)
        assert time.process_time() - start < 5


def test_no_folder_at_all(tmp_path):
    with pytest.raises(MissingInput, match="Give the folder of an hls4ml project"):
        read_project(tmp_path)


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("ap_fixed<16,6>", FixedType(True, 16, 6)),
        ("ap_ufixed<9,1,AP_RND_CONV,AP_SAT>", FixedType(False, 9, 1, "RND_CONV", "SAT")),
        ("ap_ufixed<1,-2,AP_TRN,AP_WRAP,0>", FixedType(False, 1, -2)),
        ("ap_int<8>", FixedType(True, 8, 8)),
        ("ap_uint<1>", FixedType(False, 1, 1)),
    ],
)
def test_types(text, want):
    assert fixed_type(text, "here") == want


@pytest.mark.parametrize(
    "text", ["float", "ap_fixed<16>", "ap_fixed<16,6,AP_TRN,AP_WRAP,2>", "ap_fixed<N,6>", "ap_fixed<16,6,AP_TRN_ZERO>"]
)
def test_types_that_are_none(text):
    with pytest.raises(InvalidInput, match="here"):
        fixed_type(text, "here")


OLD = {  # as hls4ml 0.x wrote it: constants instead of numbers, no comments behind the layers, softmax, transposed weights
    "defines.h": """#define N_INPUT_1_1 2
#define N_LAYER_2 3
typedef ap_fixed<8,4> model_default_t;
typedef nnet::array<ap_fixed<8,4>, 2*1> input_t;
typedef nnet::array<ap_fixed<12,6>, 3*1> layer2_t;
typedef ap_ufixed<6,3,AP_RND,AP_SAT> layer3_t;
typedef ap_fixed<16,6> result_t;
""",
    "parameters.h": """//hls-fpga-machine-learning insert layer-config
struct config2 : nnet::dense_config {
    static const unsigned n_in = N_INPUT_1_1;
    static const unsigned n_out = N_LAYER_2;
    static const unsigned strategy = nnet::resource;
    typedef ap_fixed<16,8> accum_t;
    typedef model_default_t bias_t;
    typedef model_default_t weight_t;
};
struct relu_config3 : nnet::activ_config {
    static const unsigned n_in = N_LAYER_2;
};
""",
    "myproject.cpp": """void myproject(
    hls::stream<input_t> &fc1_input,
    hls::stream<result_t> &layer4_out,
    unsigned short &const_size_in_1
) {
    nnet::dense<input_t, layer2_t, config2>(fc1_input, layer2_out, w2, b2);
    nnet::relu<layer2_t, layer3_t, relu_config3>(layer2_out, layer3_out);
    nnet::softmax<layer3_t, result_t, softmax_config4>(layer3_out, layer4_out);
}
""",
    "weights/w2.txt": "1.0, -2.0, 0.5, 0.0, 0.0625, 3.0",
    "weights/b2.txt": "0.25\n0.0\n-1.0",
}


def old(tmp_path):
    for name, text in OLD.items():
        file = tmp_path / "firmware" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path


def test_the_dialect_of_old_projects(tmp_path):
    found = read_project(old(tmp_path))
    assert found.left_out == ("softmax",)
    assert [(layer.name, layer.kind, layer.shape) for layer in found.graph.layers] == [
        ("fc1_input", "Input", (2,)), ("layer2", "Dense", (3,)), ("layer3", "Activation", (3,)),
    ]  # fmt: skip
    dense = found.graph.layers[1]
    assert dense.weights["weight"][0].tolist() == [[1.0, 0.5, 0.0625], [-2.0, 0.0, 3.0]], "stored with the outputs first"
    assert dense.weights["bias"][0].tolist() == [0.25, 0.0, -1.0]
    assert dense.accumulator == FixedType(True, 16, 8)
    x = np.array([[1.5, -0.25]])
    want = np.maximum(x @ [[1.0, 0.5, 0.0625], [-2.0, 0.0, 3.0]] + [0.25, 0.0, -1.0], 0)
    assert lower(found.graph).predict(x).tolist() == found.graph.output.type.quantize(want).tolist()


def test_a_softmax_inside_is_refused(tmp_path):
    edit(old(tmp_path), "myproject.cpp", lambda t: t.replace("nnet::relu<", "nnet::softmax<"))
    edit(tmp_path, "myproject.cpp", lambda t: t.replace("nnet::softmax<layer3_t", "nnet::relu<layer3_t"))
    with pytest.raises(InvalidInput, match="comes behind softmax"):
        read_project(tmp_path)


def test_vectors(tmp_path):
    file = tmp_path / "v.dat"
    file.write_text("1 2\n\n3 4.5\n")
    assert read_vectors(file, 2).tolist() == [[1, 2], [3, 4.5]]
    for text, words in (("1 2\n3\n", "line 2: 1 words"), ("", "0 words"), ("1 x\n", "could not convert")):
        file.write_text(text)
        with pytest.raises(InvalidInput, match=words):
            read_vectors(file, 2)


def test_products_are_cut_one_by_one_as_in_the_cpp(tmp_path):
    """Two products of 3/8 in an accumulator of halves: each is cut to 0, while their sum 3/4 would be cut to 1/2."""
    edit(old(tmp_path), "parameters.h", lambda t: t.replace("ap_fixed<16,8> accum_t", "ap_fixed<9,8> accum_t"))
    edit(tmp_path, "defines.h", lambda t: t.replace("ap_ufixed<6,3,AP_RND", "ap_ufixed<12,3,AP_RND"))
    (tmp_path / "firmware/weights/w2.txt").write_text("0.375 0.375 0 0 0 0")
    (tmp_path / "firmware/weights/b2.txt").write_text("0 0 0")
    graph = read_project(tmp_path).graph
    exact, cut = exact_sums(graph)
    x = np.array([[1.0, 1.0]])
    assert cut == ("layer2",)
    assert evaluate(graph, x)[0].tolist() == [0, 0, 0]
    assert evaluate(exact, x)[0].tolist() == [0.75, 0, 0] == lower(exact).predict(x)[0].tolist()


@real
def test_the_public_encoder_gives_the_predictions_beside_it():
    graph = NETWORKS[0].graph(REPORTS)
    data = REPORTS / NETWORKS[0].folder / "tb_data"
    x, y = read_vectors(data / "tb_input_features.dat", 64), read_vectors(data / "tb_output_predictions.dat", 16)
    exact, cut = exact_sums(graph)
    assert cut == ("conv2d_0_m", "encoded_vector")
    assert np.array_equal(lower(exact).predict(x), np.rint(y * 256) / 256)
