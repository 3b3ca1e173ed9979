"""How much of the differences between accuracies is one factor, and how much another."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray


def variance_split(right: ArrayLike, names: tuple[str, str] = ("rows", "columns")) -> pd.DataFrame:
    """Split the differences in a table of accuracies into rows, columns and their interaction.

    How much does the PRM (rows) matter against how much the method (columns) does? With a = the row means,
    b = the column means and c = what neither explains, all of them deviations, the variance over cells is
    mean a^2 + mean b^2 + mean c^2. Chance differences between cells add to each, most to c; they are
    subtracted: for a vector estimated by the mean over P problems of vectors e_p, the mean square is
    estimated without bias by (mean e)^2 - sum_p (e_p - mean e)^2 / (P (P - 1)), squares of lengths.

    Args:
        right: (A, B, P) outcomes in [0, 1], A rows by B columns on the same P problems, P at least 3.
        names: what rows and columns are.

    Returns:
        Three rows (names[0], names[1], "both together") with ``variance`` (of accuracies; a negative one
        means that chance explains all of it), ``share`` of the sum of the three, a negative one counted as 0,
        ``low`` and ``high``: share +- 1.96 standard errors by the jackknife over problems, cut at 0 and 1.

    Raises:
        ValueError: a wrong shape, a value outside [0, 1], or no variance beyond chance.

    >>> import numpy as np
    >>> table = np.array([[0.0, 0.0], [1.0, 1.0]])[:, :, None].repeat(5, axis=2)
    >>> variance_split(table)["share"].tolist()
    [1.0, 0.0, 0.0]
    """
    values = np.asarray(right, dtype=np.float64)
    if values.ndim != 3 or min(values.shape[:2], default=0) < 2 or values.shape[2] < 3:
        raise ValueError(f"right must be (rows, columns, problems), at least (2, 2, 3), got {values.shape}")
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError("right must lie in [0, 1]")
    whole = values.mean(axis=(0, 1), keepdims=True)
    a = values.mean(axis=1, keepdims=True) - whole
    b = values.mean(axis=0, keepdims=True) - whole
    effects = [a[:, 0], b[0], (values - whole - a - b).reshape(-1, values.shape[2])]  # each (size, P)
    components = [_mean_square(effect) for effect in effects]
    variance = np.array([estimate for estimate, _ in components])  # (3,)
    without = np.stack([left_out for _, left_out in components])  # (3, P)
    if not (variance > 0).any():
        raise ValueError("the accuracies differ by no more than chance; there is nothing to split")
    share = _shares(variance[:, None])[:, 0]
    shares = _shares(without)
    num = values.shape[2]
    error = np.sqrt((num - 1) * np.mean((shares - shares.mean(axis=1, keepdims=True)) ** 2, axis=1))
    return pd.DataFrame(
        {
            "component": [*names, "both together"],
            "variance": variance,
            "share": share,
            "low": np.clip(share - 1.96 * error, 0, 1),
            "high": np.clip(share + 1.96 * error, 0, 1),
        }
    )


def _shares(variance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of (3, I) variances, the share of each; thirds where none is above 0."""
    above = np.maximum(variance, 0)
    total = above.sum(axis=0)
    return np.where(total > 0, above / np.where(total > 0, total, 1), 1 / 3)


def _mean_square(effect: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """The unbiased mean square of (D, P) effects, and what it is without each of the P problems."""
    size, num = effect.shape
    squares = (effect**2).sum(axis=0)  # (P,)
    total = effect.sum(axis=1)
    # |mean|^2 - sum |e_p - mean|^2 / (P (P-1)) = (|sum|^2 - sum |e_p|^2) / (P (P-1))
    whole = ((total**2).sum() - squares.sum()) / (num * (num - 1))
    rest = ((total[:, None] - effect) ** 2).sum(axis=0) - (squares.sum() - squares)
    return float(whole) / size, rest / ((num - 1) * (num - 2)) / size
