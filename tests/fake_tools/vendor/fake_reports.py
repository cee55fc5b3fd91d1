"""Reports in the layouts of the vendor's versions, with made-up figures."""

LUT, FF, DSP, BRAM18, LATENCY, II = 5000, 1200, 3, 4, 9, 1  # of high-level synthesis
COSIM_LATENCY = 11
MAPPED_LUT, MAPPED_FF, MAPPED_DSP, TILES = 2345, 1100, 2, 1.5
ROUTED_LUT = 2222
WNS, WATTS = 1.25, 0.735


def csynth_xml(version, part, top, clock, old):
    """Return <top>_csynth.xml; Vivado HLS says DSP48E, and has the resources in another order."""
    dsp = "DSP48E" if old else "DSP"
    rows = [("BRAM_18K", BRAM18, 4320), (dsp, DSP, 5520), ("FF", FF, 1326720), ("LUT", LUT, 663360), ("URAM", 0, 0)]
    if old:
        rows = [rows[2], rows[3], rows[0], rows[1], rows[4]]
    used, available = ("\n".join(f"<{row[0]}>{row[i]}</{row[0]}>" for row in rows) for i in (1, 2))
    return f"""<profile>

<ReportVersion>
<Version>{version}</Version>
</ReportVersion>

<UserAssignments>
<unit>ns</unit>
<ProductFamily>kintexu</ProductFamily>
<Part>{part}</Part>
<TopModelName>{top}</TopModelName>
<TargetClockPeriod>{clock:.2f}</TargetClockPeriod>
<ClockUncertainty>1.35</ClockUncertainty>
</UserAssignments>

<PerformanceEstimates>
<PipelineType>yes</PipelineType>
<SummaryOfTimingAnalysis>
<unit>ns</unit>
<EstimatedClockPeriod>3.211</EstimatedClockPeriod>
</SummaryOfTimingAnalysis>
<SummaryOfOverallLatency>
<unit>clock cycles</unit>
<Best-caseLatency>{LATENCY}</Best-caseLatency>
<Average-caseLatency>{LATENCY}</Average-caseLatency>
<Worst-caseLatency>{LATENCY}</Worst-caseLatency>
<Interval-min>{II}</Interval-min>
<Interval-max>{II}</Interval-max>
</SummaryOfOverallLatency>
</PerformanceEstimates>

<AreaEstimates>
<Resources>
{used}
</Resources>
<AvailableResources>
{available}
</AvailableResources>
</AreaEstimates>
</profile>
"""


def cosim_rpt(version):
    rule = f"+{'-' * 10}+{'-' * 10}+{'-' * 47}+{'-' * 47}+"
    columns = "|".join(f"{name:^15}" for name in ("min", "avg", "max") * 2)
    numbers = "|".join(f"{n:>15}" for n in [COSIM_LATENCY] * 3 + [II] * 3)
    absent = "|".join(f"{'NA':>15}" for _ in range(6))
    return f"""
================================================================
== Vitis HLS - High-Level Synthesis from C, C++ and OpenCL v{version} (64-bit)
================================================================
Report time       : Thu Jan 27 09:35:35 CST 2022.
Solution          : solution1.
Simulation tool   : xsim.

{rule}
|          |          |{"Latency":^47}|{"Interval":^47}|
+   RTL    +  Status  +{"-" * 47}+{"-" * 47}+
|          |          |{columns}|
{rule}
|      VHDL|        NA|{absent}|
|   Verilog|      Pass|{numbers}|
{rule}
"""


def head(version, part, top, command, routed):
    rule = "-" * 90
    return f"""Copyright 1986-2022 Xilinx, Inc. All Rights Reserved.
{rule}
| Tool Version : Vivado v.{version} (lin64) Build 3671981 Fri Oct 14 04:59:54 MDT 2022
| Date         : Tue Jan 28 04:03:33 2025
| Host         : host running 64-bit Ubuntu 20.04.4 LTS
| Command      : {command}
| Design       : {top}
| Device       : {part}
| Design State : {"Routed" if routed else "Optimized"}
{rule}

"""


def table(names, rows):
    widths = [max(len(str(row[i])) for row in (names, *rows)) for i in range(len(names))]
    rule = "+" + "+".join("-" * (w + 2) for w in widths) + "+"
    lines = [
        "| " + " | ".join(f"{row[i]:<{w}}" if i == 0 else f"{row[i]:>{w}}" for i, w in enumerate(widths)) + " |" for row in (names, *rows)
    ]
    return "\n".join([rule, lines[0], rule, *lines[1:], rule])


def utilization(version, part, top, clock, routed):
    names, lut = ("Site Type", "Used", "Fixed", "Available", "Util%"), ROUTED_LUT if routed else MAPPED_LUT
    logic = [("CLB LUTs*", lut, 0, 663360, 0.35), ("CLB Registers", MAPPED_FF, 0, 1326720, 0.08), ("CARRY8", 120, 0, 82920, 0.14)]
    memory = [("Block RAM Tile", TILES, 0, 2160, 0.07), ("  RAMB36/FIFO*", 1, 0, 2160, 0.05), ("  RAMB18", 1, 0, 4320, 0.02)]
    return f"""{head(version, part, top, "report_utilization -file utilization.rpt", routed)}Utilization Design Information

Table of Contents
-----------------
1. CLB Logic
2. BLOCKRAM
3. ARITHMETIC

1. CLB Logic
------------

{table(names, logic)}


2. BLOCKRAM
-----------

{table(names, memory)}


3. ARITHMETIC
-------------

{table(names, [("DSPs", MAPPED_DSP, 0, 5520, 0.04)])}


"""


def timing(version, part, top, clock, routed):
    columns = ("WNS(ns)", "TNS(ns)", "TNS Failing Endpoints", "TNS Total Endpoints", "WHS(ns)", "THS(ns)", "THS Failing Endpoints")
    values = (f"{WNS:.3f}", "0.000", "0", "2345", "0.029", "0.000", "0")
    lines = [
        "".join(f"  {cell:>{len(name)}}" for name, cell in zip(columns, cells, strict=True))
        for cells in (columns, ["-" * len(n) for n in columns], values)
    ]
    half, rule = clock / 2, "-" * 96
    return f"""{head(version, part, top, "report_timing_summary -file timing.rpt", routed)}Timing Summary Report

{rule}
| Design Timing Summary
| ---------------------
{rule}

{chr(10).join(lines)}


All user specified timing constraints are met.


{rule}
| Clock Summary
| -------------
{rule}

Clock   Waveform(ns)       Period(ns)      Frequency(MHz)
-----   ------------       ----------      --------------
ap_clk  {{0.000 {half:.3f}}}      {clock:.3f}           {1000 / clock:.3f}{" " * 9}


"""


def power(version, part, top, clock, routed):
    rows = [("Total On-Chip Power (W)", WATTS), ("Dynamic (W)", 0.1), ("Device Static (W)", 0.635), ("Confidence Level", "Medium")]
    names, values = max(len(n) for n, _ in rows), 12
    rule = f"+{'-' * (names + 2)}+{'-' * (values + 2)}+"
    lines = "\n".join(f"| {name:<{names}} | {value!s:<{values}} |" for name, value in rows)
    return f"""{head(version, part, top, "report_power -file power.rpt", routed)}Power Report

Table of Contents
-----------------
1. Summary

1. Summary
----------

{rule}
{lines}
{rule}


"""
