"""Train a model on token sequences: one loop for policies and PRMs, with its tokens and FLOPs counted."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field

import torch
from torch.nn import functional as F

from tts_utils.store.manifest import hardware

IGNORE = -100
PADS = {"ids": 0, "targets": IGNORE, "labels": IGNORE, "tags": 0, "slips": 0}


@dataclass(frozen=True, slots=True)
class Example:
    """One training sequence of T tokens.

    Attributes:
        ids: (T,) what the model reads.
        targets: (T,) the token that each position should predict next, or IGNORE.
        labels: (T,) PRM labels: 0 the first of the label tokens, 1 the second, or IGNORE; () for none.
        tags: (T,) 1 where a label stands at a step's end, else 0; () for none.
        slips: (T,) 1 at the first token that is labelled 1, else 0; () for none.
    """

    ids: list[int]
    targets: list[int]
    labels: list[int] = field(default_factory=list)
    tags: list[int] = field(default_factory=list)
    slips: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """One training run: how long, how large a batch, how fast.

    With ``stop_loss`` the run ends early, at the first logged loss (one every 100 steps) below it. Small
    models learn to calculate all at once, and when that happens differs by millions of tokens from run to
    run; a loss fixes how good they get, a number of tokens does not.
    """

    num_tokens: int
    batch_tokens: int = 8192
    peak_lr: float = 3e-3
    warmup: float = 0.03  # fraction of the run
    final_lr: float = 0.05  # at its end, as a fraction of the peak
    pool: int = 1024  # examples that are sorted by length together
    weight_decay: float = 0.05
    lm_weight: float = 1.0  # weight of the words beside that of the labels, where there are labels
    bfloat16: bool = False  # multiply in bfloat16 where that is quick; weights and optimiser stay in float32
    compiled: bool = True  # on a CPU with a C++ compiler: fused kernels, up to twice as fast
    stop_loss: float | None = None


Batch = tuple[torch.Tensor, ...]  # the five fields of some examples in order, each (B, T)


def batches(examples: Iterator[Example], config: TrainingConfig) -> Iterator[Batch]:
    """Group examples of like length: yields their five fields in order, each (B, T), padded on the right.

    Right padding with causal attention needs no mask: nothing real ever looks at a pad.
    """
    rng = torch.Generator().manual_seed(0)
    while True:
        drawn = sorted(
            (e for e, _ in zip(examples, range(config.pool), strict=False)), key=lambda e: len(e.ids)
        )
        if not drawn:
            return
        groups, group = [], []
        for example in drawn:
            if group and len(example.ids) * (len(group) + 1) > config.batch_tokens:
                groups.append(group)
                group = []
            group.append(example)
        groups.append(group)
        for i in torch.randperm(len(groups), generator=rng).tolist():
            yield tuple(
                _padded([getattr(e, name) for e in groups[i]], max(len(e.ids) for e in groups[i]), pad)
                for name, pad in PADS.items()
            )


def _padded(rows: list[list[int]], width: int, pad: int) -> torch.Tensor:
    return torch.tensor([row + [pad] * (width - len(row)) for row in rows], dtype=torch.long)


def words_only(model, ids: torch.Tensor) -> tuple[torch.Tensor, None]:
    """What a policy is trained on: its next-token logits (B, T, V), and no labels."""
    return model(input_ids=ids, use_cache=False).logits, None


def _loss(logits, judged, targets, labels, tags, slips, lm_weight: float) -> torch.Tensor:
    """Cross-entropy of the words; with labels also of the tags, of the slips, and of all labelled tokens.

    Each of the four is a mean of its own, so that the few tags and slips weigh as much as the other tokens.
    A batch may have no words to learn (every rollout lost at once); their mean is then taken as 0.
    """
    words = F.cross_entropy(logits.flatten(0, 1).float(), targets, ignore_index=IGNORE, reduction="sum")
    words = words / (targets != IGNORE).sum().clamp(min=1)
    if judged is None:
        return words
    judged = judged.flatten(0, 1).float()
    per_token = F.cross_entropy(judged, labels, ignore_index=IGNORE, reduction="none")
    at_tags = (per_token * tags).sum() / tags.sum().clamp(min=1)
    at_slips = (per_token * slips).sum() / slips.sum().clamp(min=1)
    everywhere = per_token.sum() / (labels != IGNORE).sum().clamp(min=1)
    return at_tags + at_slips + everywhere + lm_weight * words


def train(
    model,
    data: Iterator[Batch],
    config: TrainingConfig,
    seed: int,
    log=print,
    outputs: Callable = words_only,
) -> dict:
    """Train in place; targets are already shifted (targets[t] is what position t should predict).

    Args:
        model: what is trained.
        data: what it reads, see :func:`batches`; with labels where ``outputs`` gives a judgement.
        config: how long and how fast.
        seed: of everything random in the training itself.
        log: called with a line now and then.
        outputs: ``(model, ids)`` -> next-token logits (B, T, V), and either None or a judgement of every
            token (B, T, 2), good first.

    Returns:
        A record of the run: tokens seen (pads not counted), parameters, FLOPs (6 P D), seconds, losses.
    """
    torch.manual_seed(seed)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.peak_lr, betas=(0.9, 0.98), weight_decay=config.weight_decay, fused=True
    )
    device = next(model.parameters()).device
    attention = model.config._attn_implementation
    compiled = config.compiled and device.type == "cpu" and shutil.which("c++") is not None
    bfloat16 = config.bfloat16 and _is_quick_in_bfloat16(device)
    if device.type == "cpu":  # heads this narrow are faster without the fused kernel
        model.set_attn_implementation("eager")

    def mean_loss(ids, *flat):
        logits, judged = outputs(model, ids)
        return _loss(logits, judged, *flat, config.lm_weight)

    if compiled:
        mean_loss = torch.compile(mean_loss, dynamic=True)
    num_params = sum(p.numel() for p in model.parameters())
    started, seen, losses, mean = time.perf_counter(), 0, [], None
    model.train()
    for step, (ids, *rest) in enumerate(data, start=1):
        progress = seen / config.num_tokens
        if progress >= 1:
            break
        warm = min(1.0, progress / config.warmup) if config.warmup else 1.0
        falling = 0.5 * (1 + math.cos(math.pi * progress))
        scale = max(warm, 0.01) * (config.final_lr + (1 - config.final_lr) * falling)
        for group in optimizer.param_groups:
            group["lr"] = config.peak_lr * scale
        seen += int((ids != 0).sum())  # counted here: on a GPU it would wait for the last step
        ids = ids.to(device)
        flat = [x.to(device).flatten() for x in rest]
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            loss = mean_loss(ids, *flat)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        mean = loss.detach() if mean is None else 0.98 * mean + 0.02 * loss.detach()
        if step % 100 == 0:
            seconds, now = time.perf_counter() - started, mean.item()
            losses.append((seen, round(now, 4)))
            log(f"step {step}  {seen / 1e6:.1f}M tokens  loss {now:.4f}  {seen / seconds:,.0f} tokens/s")
            if config.stop_loss is not None and now < config.stop_loss:
                break
    model.eval()
    model.set_attn_implementation(attention)
    return {
        "config": asdict(config),
        "schedule": "tokens",
        "seed": seed,
        "num_params": num_params,
        "num_tokens": seen,
        "flops": 6 * num_params * seen,
        "seconds": round(time.perf_counter() - started, 1),
        "device": str(device),
        "compiled": compiled,
        "bfloat16": bfloat16,
        "hardware": hardware(),
        "threads": torch.get_num_threads(),
        "losses": losses,
    }


def _is_quick_in_bfloat16(device: torch.device) -> bool:
    """A processor without instructions for bfloat16 imitates them, twenty times slower than float32."""
    return device.type != "cpu" or torch.ops.mkldnn._is_mkldnn_bf16_supported()
