"""Excess loss under Gaussian noise on the inputs, with clean targets (Bishop, Neural Computation 7, 1995).

R = E_n[L(x + n)] - L(x), n ~ N(0, (sigma * rms(x))^2) independent for each input, rms over the batch. For a squared error and to second
order it is a penalty on the Jacobian, 1/2 sigma^2 rms(x)^2 times the trace of the Hessian in x. The input quantizer clamps as on the
chip.
"""

import torch

from flow.regularizers import Batch

TITLE = "input noise"


def penalty(batch: Batch, *, sigma: float = 0.1, draws: int = 1) -> torch.Tensor:
    """Return the estimate of R, a scalar of any sign, in units of the loss.

    Args:
        batch: each sample has noise of its own.
        sigma: standard deviation, relative to the root mean square of the inputs.
        draws: independent draws that are averaged.
    """
    x = batch.x.detach()
    width = sigma * x.square().mean().sqrt()
    noisy = [batch.evaluate(x + width * torch.randn(x.shape, generator=batch.generator, dtype=x.dtype), {}).mean() for _ in range(draws)]
    return torch.stack(noisy).mean() - batch.loss.mean()
