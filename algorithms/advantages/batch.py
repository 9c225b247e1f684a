"""Mean and standard deviation over all ranks, for estimators that normalise over the step's whole batch."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from groundrl.algorithms.window import Window


def batch_moments(values: Float[Tensor, "k"], window: Window) -> tuple[float, float]:
    """`(mean, std)` of the values of all ranks, with Bessel's correction; std is exactly 0 where all are equal.

    Each rank's count, mean and squared deviations are combined by the pairwise formula of Chan, Golub and LeVeque
    (1979), so that the result does not depend on how the rows are spread over ranks but for rounding in float64.
    """
    values = values.double()
    if len(values):
        mean = values.mean()
        own = [torch.tensor(float(len(values))), mean, ((values - mean) ** 2).sum(), values.min(), values.max()]
    else:
        own = [torch.tensor(value) for value in (0.0, 0.0, 0.0, torch.inf, -torch.inf)]
    counts, means, squares, low, high = window.gather(torch.stack([part.double().cpu() for part in own])).unbind(dim=1)
    total = counts.sum()
    if total == 0:
        return 0.0, 0.0
    if low.min() == high.max():
        return float(low.min()), 0.0
    mean = (counts * means).sum() / total
    spread = squares.sum() + (counts * (means - mean) ** 2).sum()
    return float(mean), float((spread / (total - 1)).sqrt())
