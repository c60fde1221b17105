"""Full fine-tuning for classification, the whole backbone and a head: python full-finetune.py PROBLEM.json"""
import json
import platform
import statistics

import torch
from torch.nn import functional as F
from tuning import load_backbone, micro_batches, padded, read_problem, say, train


class Classifier(torch.nn.Module):
    """The last token's state behind the final norm, and a linear head that starts at 0."""

    def __init__(self, path, classes):
        super().__init__()
        self.decoder = load_backbone(path).model
        self.head = torch.nn.Linear(self.decoder.config.hidden_size, classes)
        torch.nn.init.zeros_(self.head.weight)
        torch.nn.init.zeros_(self.head.bias)

    def forward(self, rows):
        ids, mask = padded(rows)
        hidden = self.decoder(input_ids=ids, attention_mask=mask).last_hidden_state
        return self.head(hidden[torch.arange(len(rows)), mask.sum(1) - 1])


def scores(model, rows, size):
    """Accuracy and mean loss."""
    right, loss = 0, 0.0
    with torch.no_grad():
        for part in micro_batches(rows, size):
            logits, labels = model(part), torch.tensor([row["label"] for row in part])
            right += (logits.argmax(1) == labels).sum().item()
            loss += F.cross_entropy(logits, labels, reduction="sum").item()
    return {"accuracy": right / len(rows), "loss": loss / len(rows)}


def main():
    problem = read_problem()
    options, micro = problem["options"], problem["options"]["microBatch"]
    valid, test = problem["valid"], problem["test"]

    def tune(rows, batches, rate, seed, label):
        torch.manual_seed(seed)
        model = Classifier(problem["gguf"], problem["classes"])
        for end in train(
            model.parameters(), rows, batches, options, rate,
            losses=lambda part: F.cross_entropy(
                model(part), torch.tensor([row["label"] for row in part]), reduction="none"
            ),
            weight=lambda row: 1,
            evaluate=dict,
            label=label,
        ):
            say(f"{label}: {json.dumps(end)}")
        return model, end

    seeds, rates = options["seeds"], options["rates"]
    search = []
    if len(rates) > 1:
        for rate in rates:
            model, _ = tune(problem["train"], problem["searchBatches"], rate, seeds[0], f"rate {rate:g}")
            search.append({"rate": rate, **scores(model, valid, micro)})
            say(json.dumps(search[-1]))
        rate = max(search, key=lambda one: (one["accuracy"], -one["loss"]))["rate"]
    else:
        rate = rates[0]
    runs = []
    for seed, batches in zip(seeds, problem["batches"]):
        model, end = tune(problem["all"], batches, rate, seed, f"rate {rate:g}, seed {seed}")
        runs.append({"seed": seed, "test": scores(model, test, micro), "end": end})
        say(json.dumps(runs[-1]))
    accuracies = [run["test"]["accuracy"] for run in runs]
    print(json.dumps({
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "search": search, "rate": rate, "runs": runs, "mean": statistics.mean(accuracies),
        "deviation": statistics.stdev(accuracies) if len(accuracies) > 1 else None,
    }))


main()
