import importlib

import numpy as np
import pytest
import torch

from flow.config import NetworkConfig
from flow.model import load_model
from flow.quant.layers import FloatLayers

MODEL = load_model("econ_t")
geometry = importlib.import_module(MODEL.load.__module__.replace(".data", ".geometry"))


def images(n, seed=0):
    return torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def build(size="baseline"):
    torch.manual_seed(0)
    return torch.nn.Sequential(MODEL.on_chip(FloatLayers(NetworkConfig()), size), MODEL.off_chip(size))


@pytest.mark.parametrize(("size", "parameters"), [("small", 282), ("baseline", 2144), ("large", 5456)])
def test_sizes_are_the_published_ones(size, parameters):
    encoder, decoder = build(size)
    assert sum(p.numel() for p in encoder.parameters()) == parameters
    assert sum(p.numel() for p in decoder.parameters()) == 2833
    latent = encoder(torch.rand(3, 1, 8, 8))
    assert latent.shape == (3, 16)
    assert (latent < 0).any()
    assert decoder(latent).shape == (3, 1, 8, 8)


def test_sizes_and_range():
    assert MODEL.sizes == ("small", "baseline", "large")
    assert MODEL.input_max == 2.0


def test_decoder_starts_near_the_mean_wafer():
    # sum of the 48 cells of a fresh network; a normalised wafer has 1 to 2
    total = build()[1](torch.zeros(1, 16)).flatten(1) @ torch.from_numpy(geometry.MASK.reshape(-1).astype(np.float32))
    assert 0.7 < total.item() < 3.0


def by_hand(output, target):
    """Telescope loss of one pair of images, in loops."""
    a, b = (geometry.to_cells(v.detach().numpy())[0] for v in (output, target))

    def level(pairs):
        return sum(w * (p - q) ** 2 * max(p, q) for p, q, w in pairs) / len(pairs)

    cells = [(a[i], b[i], 1.0) for i in range(48)]
    two = [(sum(a[list(c)]), sum(b[list(c)]), w) for c, w in zip(geometry.SUPERCELLS, geometry.SUPERCELL_WEIGHTS, strict=True)]
    four = [(a[16 * d : 16 * d + 16].sum(), b[16 * d : 16 * d + 16].sum(), 1.0) for d in range(3)]
    return 4 * level(cells) + 2 * level(two) + level(four)


def test_loss_is_the_telescope_loss():
    output, target = images(6), images(6, 1)
    got = MODEL.loss(output, target)
    assert got.shape == (6,)
    np.testing.assert_allclose(got.numpy(), [by_hand(output[n : n + 1], target[n : n + 1]) for n in range(6)], rtol=1e-12)


def test_loss_of_one_cell_by_closed_form():
    target = torch.zeros(1, 1, 8, 8, dtype=torch.float64)
    target[0, 0, 0, 4] = 1.0  # cell 0: in two supercells of weight 0.375, one domain
    expected = 4 / 48 + 2 * 2 * 0.375 / 36 + 1 / 3
    assert MODEL.loss(torch.zeros_like(target), target).item() == pytest.approx(expected, rel=1e-12)


def test_loss_is_symmetric_zero_at_equality_and_blind_to_dead_pixels():
    output, target = images(3), images(3, 1)
    torch.testing.assert_close(MODEL.loss(output, target), MODEL.loss(target, output))
    assert MODEL.loss(target, target).abs().max() == 0
    other = output.clone()
    other[:, :, 4:, 4:] += 7
    assert (MODEL.loss(other, target) == MODEL.loss(output, target)).all()


def test_loss_can_be_transformed():
    output, target = images(4), images(4, 1)
    assert torch.autograd.gradcheck(lambda o: MODEL.loss(o, target), output.clone().requires_grad_())

    def one(o, t):
        return MODEL.loss(o[None], t[None])[0]

    per_sample = torch.func.vmap(torch.func.grad(one))(output, target)
    leaf = output.clone().requires_grad_()
    MODEL.loss(leaf, target).sum().backward()
    torch.testing.assert_close(per_sample, leaf.grad)
    assert torch.func.hessian(one)(output[0], target[0]).isfinite().all()
    stacked = torch.func.vmap(MODEL.loss, in_dims=(0, None))(torch.stack([output, target]), target)
    torch.testing.assert_close(stacked[0], MODEL.loss(output, target))


def test_loss_keeps_float32():
    assert MODEL.loss(images(2).float(), images(2, 1)).dtype == torch.float32
