"""Graph repairs between the Brevitas export and hls4ml, one file each.

A repair has ``TITLE`` and ``apply(model) -> int``: it changes an ONNX model in place and returns how many places it changed. It never
changes a value that the network computes; the exactness gate checks that.
"""
