"""The side network's train step in PyTorch on one thread: a line of JSON in, a line of JSON out."""
import json
import sys
import time

import torch
from torch.nn import functional as F

torch.set_num_threads(1)
torch.set_num_interop_threads(1)


def shape_of(path, s):
    width = s["width"]
    if path.startswith("down"):
        return (width, s["rank"])
    if path.startswith("up"):
        return (s["rank"], width)
    if path == "alpha":
        return (s["layers"],)
    if path == "beta":
        return (1,)
    features = width * (s["layers"] if s["head"] == "dense" else 1)
    return (s["classes"],) if path == "head.bias" else (s["classes"], features)


class Training:
    """One training under way; `variant` is foreach or fused, AdamW's two fast forms."""

    def __init__(self, problem, variant):
        shape, hyper = problem["shape"], problem["hyper"]
        self.shape, self.hyper, self.rates = shape, hyper, problem["rates"]
        with open(problem["file"], "rb") as file:
            numbers = torch.frombuffer(bytearray(file.read()), dtype=torch.float32)
        at = 0
        self.params = {}
        for path, count in problem["params"]:
            leaf = numbers[at : at + count].reshape(shape_of(path, shape)).clone()
            self.params[path] = leaf.requires_grad_()
            at += count
        size = shape["rows"] * shape["width"]
        self.taps = []
        for _ in range(shape["layers"]):
            self.taps.append(numbers[at : at + size].reshape(shape["rows"], shape["width"]).clone())
            at += size
        self.labels = torch.tensor(problem["labels"])
        still = ("alpha", "beta", "head.bias")
        groups = [
            {"params": [p for k, p in self.params.items() if k not in still]},
            {"params": [p for k, p in self.params.items() if k in still], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(
            groups,
            lr=1e-3,
            betas=(hyper["beta1"], hyper["beta2"]),
            eps=hyper["adamEps"],
            weight_decay=hyper["weightDecay"],
            **{variant: True},
        )
        self.done = 0

    def rms(self, x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.hyper["rmsEps"])

    def loss(self):
        p, dense, layers = self.params, self.shape["head"] == "dense", self.shape["layers"]
        mu, gate = torch.sigmoid(p["alpha"]), torch.sigmoid(p["beta"])
        states, s = [], self.taps[0]
        for i, tap in enumerate(self.taps):
            x = s if i == 0 else torch.lerp(tap, s, mu[i])
            s = x + F.gelu(x @ p[f"down.{i}"]) @ p[f"up.{i}"]
            if dense or i == layers - 1:
                states.append(self.rms(torch.lerp(tap, s, gate)))
        features = torch.cat(states, 1) * layers**-0.5 if dense else states[0]
        logits = F.linear(features, p["head.weight"], p["head.bias"])
        return F.cross_entropy(logits, self.labels, label_smoothing=self.hyper["labelSmoothing"])

    def step(self):
        for group in self.optimizer.param_groups:
            group["lr"] = self.rates[min(self.done, len(self.rates) - 1)]
        self.done += 1
        self.optimizer.zero_grad()
        loss = self.loss()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.params.values(), self.hyper["maxGradNorm"])
        self.optimizer.step()
        return {"loss": loss.item(), "gradNorm": norm.item()}


def main():
    training = Training(json.loads(sys.stdin.readline()), sys.argv[1])
    print(json.dumps({"version": torch.__version__, "cpu": torch.backends.cpu.get_cpu_capability()}), flush=True)
    for line in sys.stdin:
        steps = json.loads(line)["steps"]
        start = time.process_time()
        for _ in range(steps):
            numbers = training.step()
        seconds = (time.process_time() - start) / steps
        print(json.dumps({**numbers, "seconds": seconds}), flush=True)


main()
