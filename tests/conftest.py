"""A compiler for all tests that does the same work only once."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

# Verilator's runtime and the code of the compiled engine depend on the words of the call and on one source alone, and they are the
# larger part of what the compiler does here: they are kept for the session, by the digest of both. So are, precompiled, the three
# headers with which the C++ of every project of hls4ml begins. Everything else is compiled as always.
COMPILER = r"""#!/bin/bash
real=@REAL@ kept=@KEPT@ out= source= types= last=
for word; do
    [[ $last == -o ]] && out=$word
    [[ $word == *.cpp ]] && source=$word
    [[ $word == -I*/ap_types ]] && types=${word#-I}
    last=$word
done
digest() { sha256sum | cut -c1-32; }
case $out:$source in
    verilated*.o:*/verilator/include/verilated*.cpp) more=${out%.o}.d;;
    engine_*.so.part:engine_*.cpp) more=;;
    */csim:*/csim.cpp)
        words=("$1" "$2" "$3" "-I$types")
        found=$kept/$({ echo "${words[@]:0:3}"; cat "$types"/*.h "$types"/*/*.h; } | digest)
        if [[ ! -d $found ]]; then
            part=$(mktemp -d "$kept/part.XXXXXX")
            printf '#include "%s"\n' ap_fixed.h ap_int.h hls_stream.h > "$part/first.h"
            "$real" "${words[@]}" "$part/first.h" -o "$part/first.h.gch" && mv -T "$part" "$found" || rm -rf "$part"
        fi 2>/dev/null
        exec "$real" $([[ -d $found ]] && echo -include "$found/first.h") "$@";;
    *) exec "$real" "$@";;
esac
found=$kept/$({ echo "$@"; cat "$source"; } | digest)
[[ -d $found ]] && exec cp "$found"/* .
"$real" "$@" || exit
part=$(mktemp -d "$kept/part.XXXXXX")
cp "$out" $more "$part" && mv -T "$part" "$found" 2>/dev/null || rm -rf "$part"
"""


def pytest_configure(config: pytest.Config) -> None:
    """Put the compiler first on PATH; the workers of xdist inherit it."""
    real = shutil.which("g++")
    if hasattr(config, "workerinput") or real is None or shutil.which("sha256sum") is None:
        return
    folder = Path(tempfile.mkdtemp(prefix="hlscape-compiler-"))
    config.add_cleanup(lambda: shutil.rmtree(folder))
    (folder / "kept").mkdir()
    program = folder / "bin" / "g++"
    program.parent.mkdir()
    program.write_text(COMPILER.replace("@REAL@", real).replace("@KEPT@", str(folder / "kept")))
    program.chmod(0o755)
    os.environ["PATH"] = f"{program.parent}{os.pathsep}{os.environ['PATH']}"


@pytest.fixture(scope="session")
def gxx(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A g++ that does not optimise the C-simulation, because nobody waits for the program."""
    path = tmp_path_factory.mktemp("bin") / "g++"
    path.write_text(f'#!/bin/bash\nexec {shutil.which("g++") or "g++"} "${{@/-O1/-O0}}"\n')
    path.chmod(0o755)
    return str(path)
