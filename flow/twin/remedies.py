"""What to do about operators that people really have and that cannot be used."""

_RECURRENT = "Recurrence cannot be lowered. Use 1-dimensional convolutions over time."
_LARGER = "Keep the part behind it off chip, where it may stay in floating point."
_NORM = "Use batch normalisation: norm=True of the layers, which folds it before quantization."
_SMOOTH = "Use relu, leaky_relu, tanh or sigmoid of the layers."
_PART = "Use a convolution of each part, or give the network one input without the rest."

REMEDIES = {
    "BipolarQuant": "Use a quantizer of 2 bits.",
    "Clip": "Use Relu: the quantizer behind it clips at the end of its range.",
    "ConvTranspose": _LARGER,
    "Elu": _SMOOTH,
    "Erf": _SMOOTH,
    "GRU": _RECURRENT,
    "Gather": _PART,
    "Gelu": _SMOOTH,
    "HardSigmoid": _SMOOTH,
    "InstanceNormalization": _NORM,
    "LSTM": _RECURRENT,
    "LayerNormalization": _NORM,
    "LogSoftmax": "Leave it off chip: it does not change which output is the largest.",
    "PRelu": "Use leaky_relu of the layers, with one slope that is a power of two.",
    "RNN": _RECURRENT,
    "Resize": _LARGER,
    "Selu": _SMOOTH,
    "Slice": _PART,
    "Softmax": "Leave it off chip: it does not change which output is the largest.",
    "Softplus": _SMOOTH,
    "Split": _PART,
    "Trunc": "Use a Quant node with fewer bits, which rounds to a coarser grid.",
    "Upsample": _LARGER,
}
