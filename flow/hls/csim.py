"""C-simulation of an hls4ml project: its firmware compiled with g++ and a driver of ours, no vendor tool."""

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flow.core.errors import InvalidInput
from flow.core.stage import Job
from flow.core.tool import GXX, Tool
from flow.gate import channels_last

Values = NDArray[np.float64]

# One translation unit and -O1: with the usual two and -O2 the compiler needs 1.6 times as long, more than a simulation takes.
DRIVER = """// Reads samples of doubles from a file, calls the top function on each, writes its outputs; "trace" writes each layer's too.
#include "firmware/@NAME@.cpp"
#include <fstream>
#include <vector>
namespace nnet {
bool trace_enabled = false;
std::map<std::string, void *> *trace_outputs = nullptr;
size_t trace_type_size = sizeof(double);
}
static const std::vector<std::pair<const char *, size_t>> layers = {@LAYERS@};
int main(int argc, char **argv) {
    if (argc != 3 && argc != 4) return 2;
    std::ifstream in(argv[1], std::ios::binary);
    std::ofstream out(argv[2], std::ios::binary);
    if (argc == 4) {
        nnet::trace_enabled = true;
        nnet::trace_outputs = new std::map<std::string, void *>;
        for (auto &l : layers) (*nnet::trace_outputs)[l.first] = calloc(l.second, sizeof(double));
    }
    static double sample[@IN@], result[@OUT@];
    @PORTS@
    while (in.read(reinterpret_cast<char *>(sample), sizeof(sample))) {
        nnet::convert_data<double, input_t, @IN@>(sample, x);
        @NAME@(x, y);
        @CHECK@
        nnet::convert_data<result_t, double, @OUT@>(y, result);
        out.write(reinterpret_cast<char *>(result), sizeof(result));
        if (argc == 4)
            for (auto &l : layers) out.write(reinterpret_cast<char *>((*nnet::trace_outputs)[l.first]), l.second * sizeof(double));
    }
    return out.good() ? 0 : 1;
}
"""
PORTS = {
    "parallel": ("static input_t x[@IN@]; static result_t y[@OUT@];", ""),
    "stream": (
        "static hls::stream<input_t> x; static hls::stream<result_t> y;",
        'if (!x.empty() || y.size() * result_t::size != @OUT@) return std::cerr << "a stream has words left over or too few\\n", 3;',
    ),
}


@dataclass(frozen=True)
class Csim:
    """A compiled project.

    Attributes:
        job: the stage execution it belongs to.
        program: the executable.
        outputs: number of outputs.
        layers: flat size of every layer, by hls4ml's name.
    """

    job: Job
    program: Path
    outputs: int
    layers: dict[str, int]

    def run(self, x: Values) -> Values:
        """Simulate samples (N, C, ...) on the grid of the input type and return (N, outputs)."""
        return self._call(x, []).reshape(len(x), self.outputs)

    def trace(self, x: Values) -> dict[str, Values]:
        """Return the flat values of every layer (channels last) for one sample (1, ...)."""
        flat = self._call(x, ["trace"])[self.outputs :]
        ends = np.cumsum(list(self.layers.values()))
        return dict(zip(self.layers, np.split(flat, ends[:-1]), strict=True))

    def _call(self, x: Values, extra: list[str]) -> Values:
        source, target = self.program.with_suffix(".in"), self.program.with_suffix(".out")
        channels_last(x).astype(np.float64).tofile(source)
        self.job.run_tool(csim_tool(self.program), [str(source), str(target), *extra], cwd=self.program.parent)
        return np.fromfile(target, np.float64)


def csim_tool(program: Path | None = None) -> Tool:
    """Return the compiled simulation as a tool, so that a crash in it is a `ToolFailed`."""
    return Tool("csim", ((str(program or sys.executable),),), "It is compiled by the stage itself.")


def build(job: Job, project: Path) -> Csim:
    """Compile a project in the work folder of the job.

    Args:
        job: gives the work folder and runs g++.
        project: folder that `flow.hls.convert.convert` wrote.

    Raises:
        InvalidInput: the folder is not such a project.
        ToolNotFound: there is no C++ compiler.
        ToolFailed: the project does not compile.
    """
    try:
        info = json.loads((project / "hlscape.json").read_text())
        name, n_in, n_out, layers = str(info["top"]), int(info["inputs"]), int(info["outputs"]), dict(info["layers"])
        ports, check = PORTS[info["io"]]
    except (OSError, ValueError, KeyError) as error:
        raise InvalidInput(f"{project.name} is not a project that the convert stage wrote: {error}.") from None
    firmware = project / "firmware"
    code = (firmware / f"{name}.cpp").read_text()
    traced = {k: v for k, v in layers.items() if re.search(rf'"{re.escape(k)}"', code)}
    driver = DRIVER.replace("@PORTS@", ports).replace("@CHECK@", check)
    for key, value in (("NAME", name), ("IN", n_in), ("OUT", n_out), ("LAYERS", ", ".join(f'{{"{k}", {v}}}' for k, v in traced.items()))):
        driver = driver.replace(f"@{key}@", str(value))
    (job.work / "csim.cpp").write_text(driver)
    program = job.work / "csim"
    job.run_tool(
        GXX,
        ["-std=c++17", "-O1", "-w", f"-I{project}", f"-I{firmware / 'ap_types'}", f'-DWEIGHTS_DIR="{firmware / "weights"}"',
         str(job.work / "csim.cpp"), "-o", str(program)],
        cwd=job.work,
    )  # fmt: skip
    return Csim(job, program, n_out, traced)
