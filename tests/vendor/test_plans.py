"""What each version of each program is told to do, word for word, without the program. UPDATE_GOLDEN=1 writes the files anew."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from flow.core.errors import ConfigError
from flow.vendor.plans import Target, cosim_plan, csynth_plan, vsynth_plan

GOLDEN = Path(__file__).parents[1] / "golden" / "vendor"
TARGET = Target("jets", "xcvu13p-flga2577-2-e", 2.5, 12.5)
HLS = [
    ("vitis-run", "2024.1"), ("vitis-run", "2025.2"), ("vitis_hls", "2020.1"), ("vitis_hls", "2022.2"), ("vitis_hls", "2023.2"),
    ("vivado_hls", "2018.2"), ("vivado_hls", "2020.1"),
]  # fmt: skip
PLANS = {
    **{f"csynth-{program}-{version}": csynth_plan(TARGET, program, version) for program, version in HLS},
    **{f"cosim-{program}-{version}": cosim_plan(TARGET, program, version) for program, version in HLS[::3]},
    "vsynth-2022.2": vsynth_plan(TARGET, "2022.2", route=False),
    "vsynth-2025.2-route": vsynth_plan(TARGET, "2025.2", route=True),
}


def text(plan):
    commands = [f"{command.tool} {' '.join(command.args)}" for group in plan.groups for command in group]
    return "".join(f"$ {line}\n" for line in commands) + "".join(f"--- {name}\n{body}" for name, body in plan.files.items())


@pytest.mark.parametrize("name", PLANS)
def test_golden(name):
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text(PLANS[name]))
    assert text(PLANS[name]) == path.read_text()


def test_every_golden_file_has_its_plan():
    assert {path.stem for path in GOLDEN.iterdir()} == set(PLANS)


@pytest.mark.parametrize("name", PLANS)
def test_every_script_is_whole_tcl(name):
    if not shutil.which("tclsh"):
        pytest.skip("there is no tclsh")
    for file, body in PLANS[name].files.items():
        code = f"proc unknown args {{ puts [join $args |] }}\n{body}" if file.endswith(".tcl") else f"puts [info complete {{{body}}}]"
        done = subprocess.run(["tclsh"], input=code, capture_output=True, text=True, check=False)
        assert done.stderr == ""
        if file.endswith(".tcl"):
            assert any("jets" in line for line in done.stdout.splitlines())
        else:
            assert done.stdout == "1\n"


@pytest.mark.parametrize("name", ["net; exec rm", "a b", "[exec x]", "$x", "", "-reset", "net\n", "net}"])
def test_no_text_of_a_user_becomes_tcl(name):
    with pytest.raises(ConfigError, match="only letters, digits"):
        Target(name, "xcku115-flvb2104-2-i", 5.0)
    with pytest.raises(ConfigError, match=r"hardware\.part = "):
        Target("net", name, 5.0)
