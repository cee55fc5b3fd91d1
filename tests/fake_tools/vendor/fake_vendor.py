"""Programs of AMD/Xilinx as far as the flow uses them: they check their arguments, execute Tcl line by line, print what the real ones
print and write reports in the layouts of their versions. An unknown command or option, a missing file and a wrong order are errors.

FAKE_<PROGRAM>_VERSION is the version. FAKE_<PROGRAM> is a mode: `fail`, `hang`, `child` (hangs, and so does its child, in a session of
its own), `licence`, `licence-once` (FAKE_STATE, a folder, remembers it), `memory` (takes 400 MiB and hangs), `no-report`, `bad-report`,
`mismatch` (one output of cosim off by one LSB), `cosim-fail`, `no-outputs`, `no-cosim-report`, `not-routed`, `slow` (0.2 s for each line).
FAKE_STATE/calls has the arguments of each call, one JSON list a line; FAKE_STATE/pid and FAKE_STATE/child the processes that hang.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from fake_reports import cosim_rpt, csynth_xml, power, timing, utilization

NAME = Path(sys.argv[0]).name
VARIABLE = "FAKE_" + NAME.upper().replace("-", "_")
DEFAULTS = {"vitis_hls": "2022.2", "vitis-run": "2024.2", "vivado_hls": "2019.2", "vivado": "2022.2"}
VERSION, MODE = os.environ.get(VARIABLE + "_VERSION", DEFAULTS.get(NAME, "")), os.environ.get(VARIABLE, "")
STATE = Path(os.environ["FAKE_STATE"]) if "FAKE_STATE" in os.environ else None
YEAR = tuple(map(int, VERSION.split("."))) if VERSION else ()
BANNERS = {
    "vitis_hls": "\n****** Vitis HLS - High-Level Synthesis from C, C++ and OpenCL v{} (64-bit)",
    "vitis-run": "\n****** vitis-run v{} (64-bit)",
    "vivado_hls": "\n****** Vivado(TM) HLS - High-Level Synthesis from C, C++ and SystemC v{} (64-bit)",
    "vivado": "\n****** Vivado v{} (64-bit)",
}
USAGE = {
    "vitis_hls": ["-f", None], "vivado_hls": ["-f", None], "vitis-run": ["--mode", "hls", "--tcl", None],
    "vivado": ["-mode", "batch", "-nojournal", "-nolog", "-notrace", "-source", None],
}  # fmt: skip


def say(text):
    print(text, flush=True)  # noqa: T201
    if MODE == "slow":
        time.sleep(0.2)


def fail(text, code=1):
    say(text)
    sys.exit(code)


def words(line):
    """Split a line of Tcl; braces are taken off, nothing is substituted."""
    return [a or b or c for a, b, c in re.findall(r"\{([^{}]*)\}|\"([^\"]*)\"|([^\s{}\"]+)", line)]


class Tcl:
    """The state of a project."""

    def __init__(self):
        self.project = self.top = self.solution = self.part = self.clock = ""
        self.files, self.testbench, self.done = [], [], set()

    def need(self, *names):
        for name in names:
            if not getattr(self, name, "") and name not in self.done:
                fail(f"ERROR: [HLS 200-101] {name} is not set.")

    @property
    def folder(self):
        return Path(self.project, self.solution)


def options(given, known):
    """Split arguments into options and the rest; an option with a value says True."""
    found, rest, given = {}, [], list(given)
    while given:
        word = given.pop(0)
        name, equals, value = word.partition("=")
        if not name.startswith("-"):
            rest.append(word)
        elif name not in known:
            fail(f"ERROR: [HLS 200-101] Unknown option '{word}'.")
        else:
            found[name] = value if equals else given.pop(0) if known[name] else True
    return found, rest


def open_project(tcl, args):
    found, (tcl.project,) = options(args, {"-reset": False})
    assert found, "a project that is not reset may have been left by another run"
    shutil.rmtree(tcl.project, ignore_errors=True)
    Path(tcl.project).mkdir()


def add_files(tcl, args):
    found, paths = options(args, {"-tb": False, "-cflags": True})
    for path in paths:
        if not Path(path).exists():
            fail(f"ERROR: [HLS 200-70] Cannot find file '{path}'.")
        (tcl.testbench if "-tb" in found else tcl.files).append(path)
    if "-tb" in found and paths[0].endswith(".cpp"):
        assert "-DRTL_SIM" in found["-cflags"], "else the testbench writes csim_results.log"


def open_solution(tcl, args):
    tcl.need("project")
    tcl.solution = options(args, {"-reset": False})[1][0]


def set_part(tcl, args):
    tcl.need("solution")
    if "-tool" in args:
        fail("ERROR: [HLS 200-644] The 'set_part -tool' hidden command is not supported.")
    tcl.part = args[0]
    say(f"INFO: [HLS 200-10] Setting target device to '{tcl.part}'")


def create_clock(tcl, args):
    tcl.need("part")
    tcl.clock = float(options(args, {"-period": True, "-name": True})[0]["-period"])


def set_clock_uncertainty(tcl, args):
    tcl.need("clock")
    assert re.fullmatch(r"[\d.]+%", args[0])


def config_array_partition(tcl, args):
    if NAME != "vivado_hls":
        fail("ERROR: [HLS 200-642] The 'config_array_partition -maximum_size' command is not supported.")
    options(args, {"-maximum_size": True})


def config_compile(tcl, args):
    options(args, {"-name_max_length": True})


def config_schedule(tcl, args):
    options(args, {"-enable_dsp_full_reg": True})


def csynth_design(tcl, args):
    tcl.need("top", "clock", "part")
    say(f"INFO: [HLS 200-10] Analyzing design file '{tcl.files[0]}' ... ")
    trouble()
    say("INFO: [HLS 200-10] Starting code transformations ...")
    say("INFO: [HLS 200-10] Starting hardware synthesis ...")
    modules = ["dense_latency_config2_s", "relu_config4_s", tcl.top]
    for module in modules:
        say(f"INFO: [HLS 200-42] -- Implementing module '{module}' ")
        say("INFO: [SCHED 204-11] Starting scheduling ...")
    for module in modules:
        say(f"INFO: [HLS 200-10] -- Generating RTL for module '{module}' ")
    rtl, report = tcl.folder / "syn" / "verilog", tcl.folder / "syn" / "report"
    rtl.mkdir(parents=True)
    (rtl / f"{tcl.top}.v").write_text(f"module {tcl.top} (input ap_clk);\nendmodule\n")
    say(f"INFO: [VLOG 209-307] Generating Verilog RTL for {tcl.top}.")
    report.mkdir()
    text = csynth_xml(VERSION, tcl.part, tcl.top, tcl.clock, old=NAME == "vivado_hls")
    if MODE != "no-report":
        (report / f"{tcl.top}_csynth.xml").write_text(text[: len(text) // 2] if MODE == "bad-report" else text)
    tcl.done.add("csynth")


def cosim_design(tcl, args):
    tcl.need("csynth")
    options(args, {"-rtl": True, "-trace_level": True})
    say("INFO: [COSIM 212-302] Starting C TB testing ... ")
    say("INFO: [COSIM 212-323] Starting verilog simulation.")
    rows = Path("tb_data", "tb_output_predictions.dat").read_text().splitlines()
    for i in range(len(rows)):
        say(f'// RTL Simulation : {i + 1} / {len(rows)} [100.00%] @ "{i}000"')
    if MODE == "cosim-fail":
        fail("ERROR: [COSIM 212-4] *** C/RTL co-simulation finished: FAIL ***")
    if MODE == "mismatch":
        first, *rest = rows[3].split()
        rows[3] = " ".join([repr(float(first) + 2.0**-6), *rest])
    if MODE != "no-outputs":
        Path("tb_data", "rtl_cosim_results.log").write_text("".join(f"{row} \n" for row in rows))
    if MODE != "no-cosim-report":
        report = tcl.folder / "sim" / "report"
        report.mkdir(parents=True)
        (report / f"{tcl.top}_cosim.rpt").write_text(cosim_rpt(VERSION))
    say("INFO: [COSIM 212-1000] *** C/RTL co-simulation finished: PASS ***")


def synth_design(tcl, args):
    found, _ = options(args, {"-mode": True, "-top": True, "-part": True})
    assert found["-mode"] == "out_of_context"
    assert found["-part"] == tcl.part
    tcl.top = found["-top"]
    if f"{tcl.top}.v" not in {path.name for path in Path("rtl").iterdir()}:
        fail(f"ERROR: [Synth 8-439] module '{tcl.top}' not found")
    say(f"Command: synth_design -mode out_of_context -top {tcl.top} -part {tcl.part}\nStarting synth_design")
    trouble()
    for step in ("RTL Elaboration", "RTL Optimization Phase 1", "Timing Optimization", "Technology Mapping", "Writing Synthesis Report"):
        say(f"Finished {step} : Time (s): cpu = 00:00:10 ; elapsed = 00:00:11")
    say("synth_design completed successfully")
    tcl.done.add("synth")


def stage(name, text, after):
    def command(tcl, args):
        tcl.need(after)
        say(text)
        tcl.done.add(name)

    return command


def report(write, suffix=""):
    def command(tcl, args):
        tcl.need("synth")
        found, _ = options(args, {"-file": True, "-hierarchical": False})
        if MODE != "no-report" and "-hierarchical" not in found:
            text = write(VERSION, tcl.part, tcl.top, tcl.clock, routed="route" in tcl.done and MODE != "not-routed")
            Path(found["-file"]).write_text(text[: len(text) // 3] if MODE == "bad-report" else text)

    return command


def read_xdc(tcl, args):
    tcl.clock = float(re.search(r"-period (\S+)", Path(options(args, {"-mode": True})[1][0]).read_text())[1])


def create_project(tcl, args):
    tcl.part = options(args, {"-in_memory": False, "-part": True})[0]["-part"]


HLS = {
    "open_project": open_project, "set_top": lambda tcl, args: setattr(tcl, "top", args[0]), "add_files": add_files,
    "open_solution": open_solution, "config_array_partition": config_array_partition, "config_compile": config_compile,
    "config_schedule": config_schedule, "set_part": set_part, "create_clock": create_clock,
    "set_clock_uncertainty": set_clock_uncertainty, "csynth_design": csynth_design, "cosim_design": cosim_design,
}  # fmt: skip
VIVADO = {
    "create_project": create_project, "add_files": add_files, "read_xdc": read_xdc, "foreach": lambda tcl, args: None,
    "synth_design": synth_design, "opt_design": stage("opt", "opt_design completed successfully", "synth"),
    "place_design": stage("place", "Starting Placer Task", "opt"),
    "phys_opt_design": stage("phys", "Starting Physical Synthesis Task", "place"),
    "route_design": stage("route", "Starting Routing Task\nroute_design completed successfully", "place"),
    "report_utilization": report(utilization), "report_timing_summary": report(timing), "report_power": report(power),
}  # fmt: skip


def no_licence():
    say("Attempting to get a license for feature 'Synthesis' and/or device 'xcku115'")
    fail(
        "ERROR: [Common 17-345] A valid license was not found for feature 'Synthesis' and/or device 'xcku115'."
        if NAME == "vivado"
        else "ERROR: [HLS 200-70] License checkout failed.\nFlexNet Licensing error:-4,132"
    )


def trouble():
    """Do what the mode asks for in the middle of the work."""
    if MODE == "licence":
        no_licence()
    if MODE == "licence-once":
        mark = STATE / f"{NAME}.licence"
        if not mark.exists():
            mark.touch()
            no_licence()
    if MODE == "fail":
        fail("ERROR: [XFORM 203-504] Stop unrolling loop 'Product1' because it may cause large runtime and excessive memory usage.")
    if MODE in ("hang", "child", "memory"):
        (STATE / "pid").write_text(str(os.getpid()))
    if MODE == "child":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"], start_new_session=True)
        (STATE / "child").write_text(str(child.pid))
    if MODE == "memory":
        block = bytearray(400 << 20)
        block[::4096] = b"x" * len(block[::4096])
    if MODE in ("hang", "child", "memory"):
        time.sleep(300)


def main():
    argv = sys.argv[1:]
    if STATE is not None:
        with (STATE / "calls").open("a") as calls:
            calls.write(json.dumps([NAME, *argv]) + "\n")
    banner = BANNERS[NAME].format(VERSION)
    if argv == ["--version" if NAME == "vitis-run" else "-version"]:
        say(banner)
        return
    if len(argv) != len(USAGE[NAME]) or any(want not in (None, got) for want, got in zip(USAGE[NAME], argv, strict=True)):
        fail(f"ERROR: unknown arguments {argv}", 2)
    say(banner)
    tcl, commands = Tcl(), VIVADO if NAME == "vivado" else HLS
    for line in Path(argv[-1]).read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        if line == "exit":
            return
        name, *args = words(line)
        if name == "catch":
            name, *args = words(args[0])
        if name not in commands:
            fail(f'invalid command name "{name}"\n    while executing\n"{line}"')
        commands[name](tcl, args)
    fail("ERROR: the script does not exit, so the program waits for commands")
