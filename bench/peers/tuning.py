"""What lora.py and full-finetune.py share: the problem, the backbone out of a GGUF, and training.

A problem is the JSON file that tuning.ts writes: {"gguf", "train", "valid", "test", "batches", "options"}.
A row is {"ids", "loss"} or {"ids", "label"}; batches are those of mobillm's trainer, by epoch.
"""
import contextlib
import io
import json
import math
import os
import sys
import time
import warnings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
warnings.simplefilter("ignore", FutureWarning)

import torch
from torch.nn import functional as F


def say(*words):
    print(*words, file=sys.stderr, flush=True)


def read_problem():
    with open(sys.argv[1], encoding="utf-8") as file:
        problem = json.load(file)
    torch.set_num_threads(problem["options"]["threads"])
    return problem


def load_backbone(path):
    """The file's weights, dequantized to f32, as transformers' own model."""
    from transformers import AutoModelForCausalLM

    folder, name = os.path.split(path)
    with contextlib.redirect_stderr(io.StringIO()):  # progress bars
        model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32)
    model.config.use_cache = False
    return model


def padded(rows):
    """ids i64 [B, T] and mask [B, T], rows filled up on the right."""
    longest = max(len(row["ids"]) for row in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    mask = torch.zeros(len(rows), longest, dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, : len(row["ids"])] = torch.tensor(row["ids"])
        mask[i, : len(row["ids"])] = 1
    return ids, mask


def micro_batches(rows, size):
    """Rows of like length together, so that little is padding."""
    rows = sorted(rows, key=lambda row: len(row["ids"]))
    return [rows[i : i + size] for i in range(0, len(rows), size)]


def loss_tokens(row):
    """How many tokens of a language model's row are in the loss; the first has none before it."""
    return sum(row["loss"][1:])


def lm_losses(decoder, head, rows):
    """Cross-entropy of every token in the loss, [N], through logits of these alone."""
    ids, mask = padded(rows)
    learnt = torch.zeros_like(mask, dtype=torch.bool)
    for i, row in enumerate(rows):
        learnt[i, 1 : len(row["ids"])] = torch.tensor(row["loss"][1:], dtype=torch.bool)
    hidden = decoder(input_ids=ids, attention_mask=mask).last_hidden_state
    logits = head(hidden[:, :-1][learnt[:, 1:]])
    return F.cross_entropy(logits, ids[learnt], reduction="none")


def warmup_cosine(peak, warmup, total):
    """The schedule of mobillm's optim.ts."""
    if_rising = lambda step: peak * (step + 1) / warmup
    falling = lambda step: peak * 0.5 * (1 + math.cos(math.pi * min(1, (step - warmup) / max(1, total - warmup))))
    return lambda step: if_rising(step) if step < warmup else falling(step)


def train(parameters, rows, batches, options, rate, losses, weight, evaluate, label):
    """AdamW over batches of row numbers, an epoch after the other; yields what `evaluate` says after each.

    losses(rows) gives the losses of some rows' units, weight(row) a row's number of units: a step's loss
    is the mean over all units of its batch, however they lie in micro-batches.
    """
    parameters = [p for p in parameters if p.requires_grad]
    decayed = [p for p in parameters if p.ndim > 1]
    still = [p for p in parameters if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed}, {"params": still, "weight_decay": 0.0}],
        lr=rate, betas=(0.9, 0.999), eps=1e-8, weight_decay=options["weightDecay"],
    )
    total = sum(len(epoch) for epoch in batches)
    rate_at = warmup_cosine(rate, round(total * options["warmupRatio"]), total)
    step, started, tokens = 0, time.time(), 0
    for number, epoch in enumerate(batches, 1):
        for batch in epoch:
            chosen = [rows[i] for i in batch]
            units = sum(weight(row) for row in chosen)
            optimizer.zero_grad()
            value = 0.0
            for part in micro_batches(chosen, options["microBatch"]):
                loss = losses(part).sum() / units
                loss.backward()
                value += loss.item()
                tokens += sum(len(row["ids"]) for row in part)
            torch.nn.utils.clip_grad_norm_(parameters, options["maxGradNorm"])
            for group in optimizer.param_groups:
                group["lr"] = rate_at(step)
            optimizer.step()
            step += 1
            if step % 10 == 0:
                seconds = time.time() - started
                say(f"{label}: epoch {number}/{len(batches)}, step {step}/{total}, loss {value:.4f}, {tokens / seconds:.0f} tokens/s")
        yield {"epoch": number, **evaluate(), "seconds": round(time.time() - started, 1), "tokens": tokens}
