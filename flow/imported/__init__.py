"""Networks that were trained elsewhere: a QONNX file and a data file in the place of a model folder."""
