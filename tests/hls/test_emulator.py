"""The namespaced emulator: two networks in one program, each with its own right outputs."""

import json
import re
import subprocess

import numpy as np
import pytest

from flow.core.errors import InvalidInput
from flow.hls import emulator
from flow.hls.convert import convert
from flow.rtl.lower import lower
from tests.hls.networks import Layers, codes

MAIN = """
#include "first/one.h"
#include "second/two.h"
#include <cstdio>
int main() {
    double x[4], y[8];
    float z[8];
    for (;;) {
        for (double &v : x) if (std::scanf("%lf", &v) != 1) return 0;
        float xf[4] = {float(x[0]), float(x[1]), float(x[2]), float(x[3])};
        one::emulate(x, y);
        two_emulate(x, y + one::output_words);
        two::emulate(xf, z);
        for (std::size_t i = 0; i < one::output_words + two::output_words; i++) std::printf("%.17g ", y[i]);
        for (std::size_t i = 0; i < two::output_words; i++) std::printf("%.17g ", z[i]);
        std::printf("\\n");
    }
}
"""


def network(path, seed, outputs, relu_scale):
    """Two dense layers; equal names of layers, types and weights in every network, other widths and values."""
    b = Layers(4, seed=seed)
    hidden = b.quant(b.node("Relu", b.dense(b.input(), 4, 3)), 4, relu_scale, signed=0)
    return b.save(path, b.output(b.dense(hidden, 3, outputs)))


@pytest.fixture(scope="module")
def projects(tmp_path_factory):
    folder = tmp_path_factory.mktemp("emulators")
    graphs = []
    with (folder / "log").open("w") as log:
        for name, seed, outputs, scale in (("first", 1, 2, 0.25), ("second", 2, 3, 0.125)):
            network(folder / f"{name}.onnx", seed, outputs, scale)
            graphs.append(convert(folder / f"{name}.onnx", folder / f"{name}_hls", "net", "xcku115-flvb2104-2-i", 5.0, "parallel", log))
    return folder, graphs


def call(*words, cwd):
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=600, check=False)
    return done.returncode, done.stdout + done.stderr


def test_two_networks_in_one_program_and_the_check_of_one(projects):
    """Both firmwares have a function `net`, a type `result_t`, structs such as `config2` and templates made of them."""
    folder, graphs = projects
    assert emulator.write(folder / "first_hls", folder / "first", "one") == "one"
    assert emulator.write(folder / "second_hls", folder / "second", "two") == "two"
    (folder / "main.cpp").write_text(MAIN)
    for name in ("first", "second"):
        code, words = call("make", "CXXFLAGS=-O0", cwd=folder / name)
        assert code == 0, words
    libraries = ["-Lfirst", "-lone", "-Lsecond", "-ltwo", "-Wl,-rpath,$ORIGIN/first:$ORIGIN/second"]
    code, words = call("g++", "-std=c++17", "main.cpp", "-o", "both", *libraries, cwd=folder)
    assert code == 0, words
    x = codes((4,), 50, seed=3)
    lines = "\n".join(" ".join(f"{v:.17g}" for v in row) for row in x)
    done = subprocess.run([str(folder / "both")], input=lines, capture_output=True, text=True, timeout=60, check=True)
    got = np.array([[float(v) for v in line.split()] for line in done.stdout.splitlines()])
    expected = [lower(graph).predict(x) for graph in graphs]
    assert np.array_equal(got, np.concatenate([*expected, expected[1]], axis=1))
    assert not np.array_equal(expected[0], expected[1][:, :2]), "else the test could not fail"
    _check(folder, x, expected[0])


def _check(folder, x, y):
    """`make test` compares with the vectors, and a planted error makes it fail."""
    (folder / "vectors").mkdir()
    np.savetxt(folder / "vectors" / "inputs.dat", x, fmt="%.17g")
    np.savetxt(folder / "vectors" / "outputs.dat", y, fmt="%.17g")
    code, words = call("make", "test", "CXXFLAGS=-O0", cwd=folder / "first")
    assert (code, "PASS: 50 samples, 0 words differ" in words) == (0, True), words
    y[7, 1] += 2.0**-5
    np.savetxt(folder / "vectors" / "outputs.dat", y, fmt="%.17g")
    code, words = call("make", "test", "CXXFLAGS=-O0", cwd=folder / "first")
    assert code != 0
    assert "sample 7, word 1: expected" in words
    np.savetxt(folder / "vectors" / "outputs.dat", y[:3], fmt="%.17g")
    code, words = call("make", "test", "CXXFLAGS=-O0", cwd=folder / "first")
    assert code != 0
    assert "too few words" in words


def test_the_folder_needs_no_file_when_it_runs_and_names_no_place(projects, tmp_path):
    folder, _ = projects
    emulator.write(folder / "first_hls", tmp_path / "e", "A point-1")
    assert sorted(p.name for p in (tmp_path / "e").iterdir()) == [
        "A_point_1.h",
        "Makefile",
        "README.md",
        "check.cpp",
        "emulator.cpp",
        "firmware",
    ]
    assert not list((tmp_path / "e").rglob("*.txt")), "weights are compiled in"
    for file in (tmp_path / "e").iterdir():
        if file.is_file():
            text = file.read_text()
            assert str(folder) not in text
            assert not re.search(r"@[A-Z]+@", text), file
    header = (tmp_path / "e" / "A_point_1.h").read_text()
    assert "ap_" not in header.replace("ap_ufixed<5,1>", ""), "the header shows no type of the HLS"
    source = (tmp_path / "e" / "emulator.cpp").read_text()
    before, _, inside = source.partition("namespace A_point_1 {")
    assert "#include <iostream>" in before
    assert '#include "ap_fixed.h"' in before
    assert "#include <" not in inside


@pytest.mark.parametrize(
    ("name", "word"),
    [("econ_t", "econ_t"), ("w6-s0", "w6_s0"), ("6bits", "n6bits"), ("class", "class_"), ("std", "std_"), ("a..b", "a_b"), ("_x", "n_x")],
)
def test_namespaces_are_identifiers(name, word):
    assert emulator.identifier(name) == word


def test_what_is_no_project_is_refused(tmp_path):
    (tmp_path / "firmware").mkdir()
    for text in ("{", "{}", json.dumps({"top": "net", "inputs": 1, "outputs": 1, "io": "parallel"})):
        (tmp_path / "hlscape.json").write_text(text)
        with pytest.raises(InvalidInput, match="is not a project that the convert stage wrote"):
            emulator.write(tmp_path, tmp_path / "e", "x")
    assert not (tmp_path / "e").exists()
