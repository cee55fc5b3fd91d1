"""The compiled C++ against onnxruntime, with all layers in one network, in both forms."""

import io
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from flow import gate
from flow.core.errors import InvalidInput, ToolFailed
from flow.core.tool import GXX
from flow.hls.convert import Hls, convert, write_testbench_data
from flow.hls.csim import build, csim_tool
from flow.stages.csim import STAGE
from tests.hls.networks import clean, codes, everything, execute
from tests.rtl import tiny


@pytest.fixture(scope="module", params=["parallel", "stream"])
def compiled(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    path = everything(folder / "net.onnx")
    project = folder / "project"
    convert(path, project, "net", "xcku115-flvb2104-2-i", 5.0, request.param, io.StringIO())
    x = codes((2, 4, 5), 200, signed=1)
    return SimpleNamespace(csim=build(tiny.job(STAGE, folder), project), project=project, path=path, x=x, y=execute(clean(path), x))


def test_every_output_is_exact(compiled):
    assert len(np.unique(compiled.y)) > 30
    assert np.array_equal(compiled.csim.run(compiled.x), compiled.y)


def test_a_planted_error_is_traced_to_its_layer(compiled):
    """Another weight of the first dense layer: all layers before it agree, and none after it."""
    right = compiled.csim.trace(compiled.x[:1])
    assert np.array_equal(list(right.values())[-1], compiled.y[0])
    dense = next(f for f in sorted((compiled.project / "firmware" / "weights").glob("w*.txt")) if f.read_text().count(",") == 12 * 5 - 1)
    text = dense.read_text()
    words = [float(word) for word in text.split(",")]
    dense.write_text(",".join(f"{word - 0.125 * (word > 0)}" for word in words))
    wrong = compiled.csim.trace(compiled.x[:1])
    dense.write_text(text)
    names = list(right)
    first = gate.first_layer(right, wrong)
    assert "MatMul" in (first or "")
    assert all(np.array_equal(right[name], wrong[name]) for name in names[: names.index(str(first))])


def test_other_folders_are_refused(tmp_path):
    job = tiny.job(STAGE, tmp_path)
    for text in ("{", "{}", '{"top": "net", "inputs": 1, "outputs": 1, "layers": {}, "io": "serial"}'):
        (tmp_path / "hlscape.json").write_text(text)
        with pytest.raises(InvalidInput, match="not a project that the convert stage wrote"):
            build(job, tmp_path)


def test_a_stream_that_is_not_read_to_its_end_is_an_error(tmp_path):
    """A top function that gives one pixel of two."""
    firmware = tmp_path / "firmware"
    firmware.mkdir()
    (firmware / "net.cpp").write_text("""
#include <deque>
#include <iostream>
#include <map>
#include <string>
struct word { static const size_t size = 1; double v; };
typedef word input_t; typedef word result_t;
namespace hls {
template <class T> struct stream { std::deque<T> d; bool empty() { return d.empty(); } size_t size() { return d.size(); } };
}
namespace nnet {
extern bool trace_enabled; extern std::map<std::string, void *> *trace_outputs; extern size_t trace_type_size;
template <class A, class B, size_t N> void convert_data(A *a, hls::stream<B> &b) {
    for (size_t i = 0; i < N; i++) b.d.push_back(word{a[i]});
}
template <class A, class B, size_t N> void convert_data(hls::stream<A> &a, B *b) { a.d.clear(); }
}
void net(hls::stream<word> &x, hls::stream<word> &y) { y.d.push_back(x.d.front()); x.d.clear(); }
""")
    (tmp_path / "hlscape.json").write_text('{"top": "net", "io": "stream", "inputs": 2, "outputs": 2, "layers": {}}')
    csim = build(tiny.job(STAGE, tmp_path), tmp_path)
    with pytest.raises(ToolFailed, match="a stream has words left over or too few"):
        csim.run(np.zeros((1, 2)))


def test_the_testbench_of_the_project_writes_every_output_exactly(compiled, tmp_path):
    """It is what a vendor's simulation of the RTL is compared by: compiled for that, and run on the C++."""
    project = tmp_path / "project"
    shutil.copytree(compiled.project, project)
    (project / "weights").symlink_to("firmware/weights")
    write_testbench_data(project, compiled.x[:20], compiled.y[:20])
    job = tiny.job(STAGE, tmp_path)
    program = project / "bench"
    include = [f"-I{project}", f"-I{project / 'firmware' / 'ap_types'}"]
    files = [str(project / "net_test.cpp"), str(project / "firmware" / "net.cpp")]
    job.run_tool(GXX, ["-std=c++11", "-O0", "-w", "-DRTL_SIM", *include, *files, "-o", str(program)], cwd=project)
    job.run_tool(csim_tool(program), [], cwd=project)
    assert np.array_equal(np.loadtxt(project / "tb_data" / "rtl_cosim_results.log"), compiled.y[:20])


@pytest.mark.parametrize(
    ("form", "hls"),
    [("parallel", Hls("resource", 1000)), ("stream", Hls("resource", 5)), ("parallel", Hls("distributed_arithmetic"))],
    ids=str,
)
def test_every_strategy_computes_the_same(tmp_path, form, hls):
    if hls.strategy == "distributed_arithmetic":
        pytest.importorskip("da4ml")
    path = everything(tmp_path / "net.onnx")
    convert(path, tmp_path / "project", "net", "xcku115-flvb2104-2-i", 5.0, form, io.StringIO(), hls)
    x = codes((2, 4, 5), 100, signed=1)
    assert np.array_equal(build(tiny.job(STAGE, tmp_path), tmp_path / "project").run(x), execute(clean(path), x))
