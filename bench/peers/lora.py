"""LoRA (PEFT) on the rows, batches and tokens of a mobillm job: python lora.py PROBLEM.json"""
import json
import math
import platform
import time

import torch
from tuning import lm_losses, load_backbone, loss_tokens, micro_batches, read_problem, say, train


def perplexity(decoder, head, rows, size):
    with torch.no_grad():
        parts = [lm_losses(decoder, head, part).double() for part in micro_batches(rows, size)]
    losses = torch.cat(parts)
    return math.exp(losses.mean().item()), losses.numel()


def main():
    import peft

    problem = read_problem()
    options, rows, valid = problem["options"], problem["train"], problem["valid"]
    micro = options["microBatch"]
    backbone = load_backbone(problem["gguf"])
    started = time.time()
    frozen, tokens = perplexity(backbone.model, backbone.lm_head, valid, micro)
    say(f"frozen: perplexity {frozen:.4f} of {tokens} tokens, {time.time() - started:.0f} s")

    def tune(rate, batches, label):
        torch.manual_seed(options["seed"])
        config = peft.LoraConfig(
            r=options["rank"], lora_alpha=options["alpha"], lora_dropout=0.0,
            target_modules=options["targets"], task_type="CAUSAL_LM",
        )
        model = peft.get_peft_model(backbone, config)
        inner = model.base_model.model
        weights = sum(p.numel() for p in model.parameters() if p.requires_grad)
        epochs = []
        for end in train(
            model.parameters(), rows, batches, options, rate,
            losses=lambda part: lm_losses(inner.model, inner.lm_head, part),
            weight=loss_tokens,
            evaluate=lambda: {"perplexity": perplexity(inner.model, inner.lm_head, valid, micro)[0]},
            label=label,
        ):
            say(f"{label}: {json.dumps(end)}")
            epochs.append(end)
        model.unload()
        return epochs, weights

    rates, searched = options["rates"], problem["searchBatches"]
    search = []
    if len(rates) > 1 and searched:
        for rate in rates:
            epochs, _ = tune(rate, [searched], f"rate {rate:g}")
            search.append({"rate": rate, "perplexity": epochs[-1]["perplexity"]})
        rates = [min(search, key=lambda tried: tried["perplexity"])["rate"]]
    runs = []
    for count in options["epochs"]:
        for rate in rates:
            epochs, weights = tune(rate, problem["batches"][:count], f"{count} epochs, rate {rate:g}")
            best = min(epochs, key=lambda end: end["perplexity"])
            sizes = {"epochs": count, "rate": rate, "samples": count * len(rows), "parameters": weights}
            runs.append({**sizes, "best": best, "all": epochs})
    print(json.dumps({
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "peft": peft.__version__},
        "frozen": frozen, "lossTokens": tokens, "search": search, "runs": runs,
    }))


main()
