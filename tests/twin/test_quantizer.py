"""Quantizers against a scalar definition, and their gradients against finite logic."""

import math

import numpy as np
import pytest
import torch

from flow.twin import Format
from flow.twin.quantizer import quantize, quantize_ste

FORMATS = [Format(b, 0.25, signed, narrow, mode) for b in (2, 4) for signed in (0, 1) for narrow in (0, 1) for mode in ("ROUND", "FLOOR")]


def by_definition(x: float, f: Format) -> float:
    low, high = (-(2 ** (f.bits - 1)) + f.narrow, 2 ** (f.bits - 1) - 1) if f.signed else (0, 2**f.bits - 1 - f.narrow)
    integer = math.floor(x / f.scale) if f.rounding == "FLOOR" else round(x / f.scale)
    return min(max(integer, low), high) * f.scale


@pytest.mark.parametrize("form", FORMATS, ids=str)
def test_values_and_gradient(form):
    x = torch.tensor(np.concatenate([np.arange(-80, 80) / 16, [-1e6, 1e6]]), dtype=torch.float32, requires_grad=True)
    y = quantize_ste(x, form)
    assert y.tolist() == quantize(x, form).tolist() == [by_definition(v, form) for v in x.tolist()]
    y.sum().backward()
    raw = [(math.floor if form.rounding == "FLOOR" else round)(v / form.scale) for v in x.tolist()]
    assert x.grad.tolist() == [float(form.low <= r <= form.high) for r in raw]


def test_the_value_is_exact_where_a_naive_straight_through_is_not():
    x = torch.tensor([1e-3 + 2.0**-30], requires_grad=True)
    assert float(quantize_ste(x, Format(20, 2.0**-15, True))) == 33 * 2.0**-15


def test_peak_counts_the_code_that_only_a_flip_can_make():
    assert Format(6, 1.0, True, True).low == -31
    assert Format(6, 1.0, True, True).peak == 32
    assert Format(6, 1.0, False).peak == 63
    assert Format(6, 2.0**-5, True).exponent == -5
