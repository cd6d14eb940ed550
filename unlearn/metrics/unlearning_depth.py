"""The unlearning depth score: how much of a knowledge gap a model shows, layer by layer."""

from __future__ import annotations

import numpy as np


def depth_by_row(
    lost: np.ndarray, lost_by_reference: np.ndarray, threshold: float = 0.05
) -> np.ndarray:
    """Return Σ_l clip(d_l, 0, r_l) / Σ_l r_l over the layers with r_l > threshold, one a row.

    `lost` (layers, rows): d_l, nats a token of the answer's log-likelihood that the model before
    unlearning loses with a model's hidden states of layer l in place of its own; r_l the same of a
    model that never saw the row. NaN for a row without such a layer: there is nothing to know.
    """
    counted = np.where(lost_by_reference > threshold, lost_by_reference, 0.0)
    total = counted.sum(axis=0)
    shared = np.clip(lost, 0.0, counted).sum(axis=0)
    return np.divide(shared, total, out=np.full(total.shape, np.nan), where=total > 0)
