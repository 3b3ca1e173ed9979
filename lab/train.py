"""Train a model on token sequences: one loop for policies and PRMs, with its tokens and FLOPs counted."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import torch
from torch.nn import functional as F

Example = tuple[list[int], list[int]]  # token ids; target ids, -100 where nothing is learnt


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """One training run: how long, how large a batch, how fast."""

    num_tokens: int
    batch_tokens: int = 8192
    peak_lr: float = 3e-3
    warmup: float = 0.03  # fraction of the run
    weight_decay: float = 0.05
    lm_weight: float = 1.0  # weight of the words beside that of the labels, where there are labels
    bfloat16: bool = False  # multiply in bfloat16; weights and optimiser stay in float32


def batches(examples: Iterator[Example], batch_tokens: int, pool: int = 1024) -> Iterator[tuple]:
    """Group examples of like length: yields (ids, targets), both (B, T), padded on the right.

    Right padding with causal attention needs no mask: nothing real ever looks at a pad.
    """
    rng = torch.Generator().manual_seed(0)
    while True:
        drawn = sorted((e for e, _ in zip(examples, range(pool), strict=False)), key=lambda e: len(e[0]))
        if not drawn:
            return
        groups, group = [], []
        for example in drawn:
            if group and len(example[0]) * (len(group) + 1) > batch_tokens:
                groups.append(group)
                group = []
            group.append(example)
        groups.append(group)
        for i in torch.randperm(len(groups), generator=rng).tolist():
            width = max(len(ids) for ids, _ in groups[i])
            ids = torch.zeros(len(groups[i]), width, dtype=torch.long)
            targets = torch.full_like(ids, -100)
            for row, (x, y) in enumerate(groups[i]):
                ids[row, : len(x)] = torch.tensor(x)
                targets[row, : len(y)] = torch.tensor(y)
            yield ids, targets


def _loss(
    logits: torch.Tensor, targets: torch.Tensor, label_ids: tuple[int, ...], lm_weight: float
) -> torch.Tensor:
    """Mean cross-entropy of the labels plus ``lm_weight`` times that of the words; logits (T, V)."""
    if not label_ids:
        return F.cross_entropy(logits, targets, ignore_index=-100)
    names = torch.tensor(label_ids, device=targets.device)
    is_label = torch.isin(targets, names)
    labels = (targets[is_label, None] == names).int().argmax(1)
    words = torch.where(is_label, -100, targets)
    label_loss = F.cross_entropy(logits[is_label][:, names], labels)
    # A batch in which every rollout is lost at once has no words to learn; its mean would be 0 / 0.
    num_words = (words != -100).sum().clamp(min=1)
    word_loss = F.cross_entropy(logits, words, ignore_index=-100, reduction="sum") / num_words
    return label_loss + lm_weight * word_loss


def train(
    model, examples: Iterator[Example], config: TrainingConfig, seed: int, log=print, label_ids=()
) -> dict:
    """Train in place; targets are already shifted (targets[t] is what position t should predict).

    With ``label_ids``, targets that are one of these tokens are PRM labels: their loss is taken over
    these tokens only, and averaged apart from that of the words.

    Returns:
        A record of the run: tokens seen (pads not counted), parameters, FLOPs (6 P D), seconds, losses.
    """
    torch.manual_seed(seed)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.peak_lr, betas=(0.9, 0.98), weight_decay=config.weight_decay, fused=True
    )
    device = next(model.parameters()).device
    num_params = sum(p.numel() for p in model.parameters())
    started, seen, losses, mean = time.perf_counter(), 0, [], None
    model.train()
    for step, (ids, targets) in enumerate(batches(examples, config.batch_tokens), start=1):
        progress = seen / config.num_tokens
        if progress >= 1:
            break
        warm = min(1.0, progress / config.warmup) if config.warmup else 1.0
        scale = max(warm, 0.01) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * progress)))
        for group in optimizer.param_groups:
            group["lr"] = config.peak_lr * scale
        ids, targets = ids.to(device), targets.to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=config.bfloat16):
            logits = model(input_ids=ids, use_cache=False).logits
        loss = _loss(logits.flatten(0, 1).float(), targets.flatten(), label_ids, config.lm_weight)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        seen += int((ids != 0).sum())
        mean = loss.item() if mean is None else 0.98 * mean + 0.02 * loss.item()
        if step % 100 == 0:
            seconds = time.perf_counter() - started
            losses.append((seen, round(mean, 4)))
            log(f"step {step}  {seen / 1e6:.1f}M tokens  loss {mean:.4f}  {seen / seconds:,.0f} tokens/s")
    model.eval()
    return {
        "config": asdict(config),
        "seed": seed,
        "num_params": num_params,
        "num_tokens": seen,
        "flops": 6 * num_params * seen,
        "seconds": round(time.perf_counter() - started, 1),
        "device": str(device),
        "threads": torch.get_num_threads(),
        "losses": losses,
    }
