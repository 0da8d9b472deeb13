"""The statistics of an evaluation: intervals, Fréchet distance, diversity, signal to noise.

Pure functions of numpy arrays; `judge` supplies the features and `evaluate` the numbers to report.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
# Normal quantile of a two-sided 95 % interval.
Z95 = 1.959964


def wilson(right: int, total: int) -> tuple[float, float]:
    """95 % interval of a share in 0..1; honest at 0 and 1, where the normal one is empty.

    Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
    """
    if total == 0:
        return 0.0, 1.0
    share, spread = right / total, Z95**2 / total
    centre = (share + spread / 2) / (1 + spread)
    half = Z95 * np.sqrt(share * (1 - share) / total + spread / (4 * total)) / (1 + spread)
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def frechet(mean1: Floats, covariance1: Floats, mean2: Floats, covariance2: Floats) -> float:
    """Squared Fréchet distance of two Gaussians: |m1 - m2|² + tr(C1 + C2 - 2 (C1 C2)^½).

    The trace of the root is the sum of roots of the eigenvalues of C1^½ C2 C1^½, which is
    symmetric, so no complex root can appear.
    """
    values, vectors = np.linalg.eigh(covariance1)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    cross = np.linalg.eigvalsh(root @ covariance2 @ root)
    trace = np.trace(covariance1) + np.trace(covariance2) - 2 * np.sqrt(np.maximum(cross, 0)).sum()
    return float(((mean1 - mean2) ** 2).sum() + trace)


def distance(ours: Floats, theirs: Floats) -> float:
    """Mean distance between pictures in pairs: features (B, width) of each.

    Rows are scaled to length 1, so the value lies in 0 (all alike) .. 2. As LPIPS (Zhang and
    others, 2018) it asks a network that was trained to tell pictures apart; this one saw only ours.
    """
    return float(np.linalg.norm(_unit(ours) - _unit(theirs), axis=-1).mean())


def diversity(features: Floats) -> float:
    """Mean distance, as above, between pictures of one prompt: features (prompts, seeds, width)."""
    unit = _unit(features)
    gaps = np.linalg.norm(unit[:, :, None] - unit[:, None], axis=-1)
    seeds = features.shape[1]
    return float(gaps.sum() / (len(features) * seeds * (seeds - 1)))


def _unit(rows: Floats) -> Floats:
    unit: Floats = rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)
    return unit


def psnr(clean: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Mean peak signal-to-noise ratio in dB of pictures (B, ...) in [-1, 1]."""
    error = ((clean - other) ** 2).reshape(len(clean), -1).mean(1)
    return float((10 * np.log10(4 / np.maximum(error, 1e-12))).mean())
