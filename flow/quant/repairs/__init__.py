"""Graph repairs between the Brevitas export and hls4ml, one file each.

A repair has ``TITLE`` and ``apply(model) -> int``: it changes an ONNX model in place and returns how many places it changed. It never
changes a value that the network computes; the exactness gate checks that. What a repair does not understand it leaves alone, or refuses
with `InvalidInput` if it is known that hls4ml would get it wrong.

They run in the order of their names: each quantizer gets one scale and each constant a quantizer before kernels are rewritten, global pools
get a window before averages become convolutions, and series become images when only those are left.
"""
