"""Quantized layers, calibration, training, and the export to QONNX."""
