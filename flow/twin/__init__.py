"""The twin: an exported QONNX graph as a pure, exact, twice differentiable torch function."""

from flow.twin.describe import describe
from flow.twin.quantizer import Format, WeightFormat
from flow.twin.twin import Twin, load_twin

__all__ = ["Format", "Twin", "WeightFormat", "describe", "load_twin"]
