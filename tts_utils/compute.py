"""Floating-point operations of inference and of pre-training, by the usual two rules of thumb.

Times nothing and counts no tokens. A method's full price is the policy's and the PRM's: the PRM reads what it
scores, so ``inference_flops`` holds for it too, with the tokens it read. The paper's Table 4 leaves the PRM
out.
"""

from __future__ import annotations


def inference_flops(num_params: float, num_tokens: float) -> float:
    """Return 2 P D, the forward pass of P parameters over D tokens, generated or read.

    Args:
        num_params: P, 0 or more. For a mixture of experts say which you take: the active ones are what is
            computed with.
        num_tokens: D, 0 or more; of all samples together.

    Raises:
        ValueError: a negative or NaN argument.

    Source: Kaplan et al. 2020 (arXiv:2001.08361), attention over the context left out. The paper gives no
    recipe for its inference figures (Table 4); they imply the token counts in
    ``data/paper/derived_flops_check.csv``.

    >>> inference_flops(3e9, 400)
    2400000000000.0
    """
    return 2.0 * _positive("num_params", num_params) * _positive("num_tokens", num_tokens)


def pretraining_flops(num_params: float, num_tokens: float) -> float:
    """Return 6 P D, forward and backward passes of P parameters over D training tokens.

    Args:
        num_params: P, 0 or more. Table 4 takes all 671 billion of DeepSeek-R1, not the active ones.
        num_tokens: D, 0 or more.

    Raises:
        ValueError: a negative or NaN argument.

    Source: Kaplan et al. 2020 (arXiv:2001.08361); with the models' published D it gives the pre-training
    column of Table 4 of Liu et al. 2025 (arXiv:2502.06703), see ``data/paper/derived_flops_check.csv``.

    >>> pretraining_flops(3e9, 9e12)
    1.62e+23
    """
    return 6.0 * _positive("num_params", num_params) * _positive("num_tokens", num_tokens)


def _positive(name: str, value: float) -> float:
    if not value >= 0:
        raise ValueError(f"{name} must be 0 or more, got {value!r}")
    return float(value)
