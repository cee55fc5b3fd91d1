"""A bit-exact C++ emulator of the hls4ml firmware in a namespace of its own, to be linked into a larger program.

hls4ml's firmware puts types, weights and functions into the global namespace and `nnet`, so that two networks in one program get mixed up
without a word (cms-sw/cmssw issue 44435). Here the whole firmware is included inside one namespace; only standard headers and the types of
the HLS stay outside. The weights are compiled in; no file is read when it runs.
"""

import json
import re
import shutil
from pathlib import Path

from flow.core.errors import InvalidInput

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)
# Words of C++ and of the headers that the name of a point may be.
TAKEN = """and asm auto bool break case catch char class const continue default delete do double else enum explicit export extern false
float for friend goto if inline int long mutable namespace new not or private protected public register return short signed sizeof static
struct switch template this throw true try typedef typename union unsigned using virtual void volatile while xor hls nnet std"""

# A list of fixed-point numbers is a constructor call each, which takes the compiler minutes; a loop over doubles is done at once.
WEIGHTS = re.compile(r"#else\n(?P<type>\w+) (?P<name>\w+)\[(?P<size>\d+)\] = (?P<values>\{[-+0-9.eE, \n]*\});")
LOADED = """#else
static const double \\g<name>_values[\\g<size>] = \\g<values>;
\\g<type> \\g<name>[\\g<size>];
static const bool \\g<name>_loaded = [] {
    for (unsigned i = 0; i < \\g<size>; i++) \\g<name>[i] = \\g<name>_values[i];
    return true;
}();"""

HEADER = """// Bit-exact emulator of a network as it is in the FPGA. No HLS header is needed to use it; see README.md.
#ifndef @GUARD@_EMULATOR_H
#define @GUARD@_EMULATOR_H
#include <cstddef>

namespace @NAME@ {
constexpr std::size_t input_words = @IN@;    // of one sample: flattened, channels last
constexpr std::size_t output_words = @OUT@;  // of one sample
// Inputs are cut to the grid of the input words as the FPGA's port has it (@TYPE@); round them before, as the host does.
void emulate(const double *in, double *out);
void emulate(const float *in, float *out);
} // namespace @NAME@
extern "C" void @NAME@_emulate(const double *in, double *out); // the same for other languages
#endif
"""

SOURCE = """// The firmware of hls4ml inside a namespace. What it includes from outside comes first, so that it is not repeated inside.
@INCLUDES@

#define __SYNTHESIS__ // weights are compiled in instead of read from files
namespace @NAME@ {
#include "firmware/@TOP@.cpp"
} // namespace @NAME@
#undef __SYNTHESIS__
#include "@NAME@.h"

namespace @NAME@ {
template <class T> static void run(const T *in, T *out) {
@BODY@
}
void emulate(const double *in, double *out) { run(in, out); }
void emulate(const float *in, float *out) { run(in, out); }
} // namespace @NAME@
extern "C" void @NAME@_emulate(const double *in, double *out) { @NAME@::emulate(in, out); }
"""
BODIES = {
    "parallel": """    input_t x[@IN@];
    result_t y[@OUT@];
    for (std::size_t i = 0; i < @IN@; i++) x[i] = in[i];
    @TOP@(x, y);
    for (std::size_t i = 0; i < @OUT@; i++) out[i] = T(y[i].to_double());""",
    "stream": """    hls::stream<input_t> x;
    hls::stream<result_t> y;
    for (std::size_t i = 0; i < @IN@; i += input_t::size) {
        input_t pixel;
        for (std::size_t j = 0; j < input_t::size; j++) pixel[j] = in[i + j];
        x.write(pixel);
    }
    @TOP@(x, y);
    for (std::size_t i = 0; i < @OUT@; i += result_t::size) {
        result_t pixel = y.read();
        for (std::size_t j = 0; j < result_t::size; j++) out[i + j] = T(pixel[j].to_double());
    }""",
}

CHECK = """// Compares the emulator with vectors: one sample a line, words separated by spaces. Ends with 1 when a word differs.
#include "@NAME@.h"
#include <cstdio>
#include <fstream>
int main(int argc, char **argv) {
    if (argc != 3) return std::fprintf(stderr, "usage: %s INPUTS OUTPUTS\\n", argv[0]), 2;
    std::ifstream inputs(argv[1]), outputs(argv[2]);
    static double x[@NAME@::input_words], y[@NAME@::output_words];
    static float xf[@NAME@::input_words], yf[@NAME@::output_words];
    unsigned long samples = 0, wrong = 0;
    for (;;) {
        for (double &v : x) inputs >> v;
        if (!inputs) break;
        for (std::size_t i = 0; i < @NAME@::input_words; i++) xf[i] = float(x[i]);
        @NAME@::emulate(x, y);
        @NAME@::emulate(xf, yf);
        for (std::size_t i = 0; i < @NAME@::output_words; i++) {
            double expected = 0;
            if (!(outputs >> expected)) return std::fprintf(stderr, "FAIL: %s has too few words\\n", argv[2]), 1;
            if (y[i] == expected && yf[i] == float(expected)) continue;
            if (++wrong <= 5) std::printf("sample %lu, word %lu: expected %.17g, got %.17g\\n", samples, (unsigned long)i, expected, y[i]);
        }
        samples++;
    }
    std::printf("%s: %lu samples, %lu words differ\\n", wrong || !samples ? "FAIL" : "PASS", samples, wrong);
    return wrong || !samples ? 1 : 0;
}
"""

MAKEFILE = """# make: lib@NAME@.so; make test: the library against the golden vectors. Needs g++ or clang++ and make, no vendor tool.
CXX ?= g++
CXXFLAGS ?= -O2
VECTORS ?= ../vectors

lib@NAME@.so: emulator.cpp @NAME@.h
	$(CXX) -std=c++17 $(CXXFLAGS) -w -fPIC -shared -I. -Ifirmware/ap_types -o $@ emulator.cpp

check: check.cpp @NAME@.h lib@NAME@.so
	$(CXX) -std=c++17 $(CXXFLAGS) -I. -o $@ check.cpp -L. -l@NAME@ -Wl,-rpath,'$$ORIGIN'

.PHONY: test clean
test: check
	./check $(VECTORS)/inputs.dat $(VECTORS)/outputs.dat

clean:
	rm -f check lib@NAME@.so
"""

README = """# Emulator

What the FPGA computes, bit for bit, as a C++ function: `@NAME@::emulate(in, out)` in `@NAME@.h`, with `@IN@` input words and `@OUT@`
output words of a sample (flattened, channels last). Build it with `make`, or compile `emulator.cpp` into a program of your own with
`-std=c++17 -I. -Ifirmware/ap_types`; `make test` compares it with the golden vectors of `../vectors`.

All of hls4ml's firmware is in the namespace `@NAME@`, its weights are compiled in, and the header shows none of its types, so emulators of
several networks can be linked into one program. `@NAME@_emulate` is the same function for `dlopen` or Python's `ctypes`. Calls from several
threads do not disturb each other once one call has been made.
"""


def identifier(name: str) -> str:
    """Make an identifier of C++ of the name of a design point.

    >>> identifier("econ_t-w4.s1"), identifier("3bits"), identifier("new")
    ('econ_t_w4_s1', 'n3bits', 'new_')
    """
    word = re.sub(r"_{2,}", "_", re.sub(r"\W", "_", name, flags=re.A))
    word = word if word[:1].isalpha() else f"n{word}"
    return f"{word}_" if word in TAKEN.split() else word


def write(project: Path, folder: Path, name: str) -> str:
    """Write the emulator of a project.

    Args:
        project: hls4ml project that `flow.hls.convert.convert` wrote.
        folder: is created.
        name: of the design point; the namespace is made of it.

    Returns:
        The namespace.

    Raises:
        InvalidInput: the folder is not such a project.
    """
    space = identifier(name)
    try:
        info = json.loads((project / "hlscape.json").read_text())
        values = {"TOP": str(info["top"]), "IN": str(int(info["inputs"])), "OUT": str(int(info["outputs"]))}
        body = BODIES[info["io"]]
        outside = _outside(project / "firmware", f"{values['TOP']}.cpp")
        found = re.search(r"^typedef (.*) input_t;", (project / "firmware" / "defines.h").read_text(), re.M)
    except (OSError, ValueError, KeyError) as error:
        raise InvalidInput(f"{project.name} is not a project that the convert stage wrote: {error}.") from None
    values |= {
        "NAME": space,
        "GUARD": space.upper(),
        "TYPE": found[1] if found else "input_t",
        "BODY": body,
        "INCLUDES": "\n".join(outside),
    }
    folder.mkdir(parents=True)
    shutil.copytree(project / "firmware", folder / "firmware", ignore=shutil.ignore_patterns("*.txt"))
    for header in (folder / "firmware" / "weights").glob("*.h"):
        header.write_text(WEIGHTS.sub(LOADED, header.read_text()))
    files = {f"{space}.h": HEADER, "emulator.cpp": SOURCE, "check.cpp": CHECK, "Makefile": MAKEFILE, "README.md": README}
    for file, text in files.items():
        (folder / file).write_text(_fill(text, values))
    return space


def _fill(text: str, values: dict[str, str]) -> str:
    for key in ("BODY", *values):  # the body has places of its own
        text = text.replace(f"@{key}@", values[key])
    return text


def _outside(firmware: Path, top: str) -> list[str]:
    """List what the firmware includes from outside itself: standard headers, then the types of the HLS."""
    standard, types, seen, waiting = set[str](), set[str](), set[str](), [Path(top)]
    while waiting:
        file = waiting.pop()
        if str(file) in seen:
            continue
        seen.add(str(file))
        for kind, target in INCLUDE.findall((firmware / file).read_text()):
            near = next((p for p in (file.parent / target, Path(target)) if (firmware / p).is_file()), None)
            if kind == '"' and near is not None:
                waiting.append(near)
            elif (firmware / "ap_types" / target).is_file():
                types.add(target)
            else:
                standard.add(target)
    return [*(f"#include <{name}>" for name in sorted(standard)), *(f'#include "{name}"' for name in sorted(types))]
