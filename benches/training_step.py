"""One Once-for-All training step in PyTorch: the other side of `make bench-training`.

Reads {"full": [block lines], "subnet": [block lines], "side", "batch", "steps", "warm_up", "threads", "device"} on
standard input and prints the seconds of every step: `full` (labels only) and `subnet` (distilled from the full network),
after a warm-up.
The supernet is written as one would in PyTorch: shared weights, sliced and transformed per subnet, nothing cached.
"""

import json
import re
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

EPSILON = 1e-5


def parse(line):
    left, output = line.split(" -> ")
    kind, *tokens, source = left.split()
    block = {"kind": kind, "act": None, "res": "res" in tokens, "se": None, "bias": "nobias" not in tokens}
    for token in tokens:
        if token in ("relu", "relu6", "hswish"):
            block["act"] = token
        elif match := re.fullmatch(r"(se|k|m|s)(\d+)", token):
            block[match[1]] = int(match[2])
    block["in"], block["out"] = int(source.split("x")[0]), int(output.split("x")[0])
    return block


def activate(x, name):
    if name == "relu":
        return F.relu(x, inplace=True)
    if name == "relu6":
        return F.relu6(x, inplace=True)
    return F.hardswish(x, inplace=True) if name == "hswish" else x


class Norm(nn.BatchNorm2d):
    def active(self, x):
        n = x.shape[1]
        # As netfit, which re-calibrates in place of running statistics: training keeps none.
        given = (None, None) if self.training else (self.running_mean[:n], self.running_var[:n])
        return F.batch_norm(x, *given, self.weight[:n], self.bias[:n], self.training, 0.0, EPSILON)


class Elastic(nn.Module):
    """A block of the full network, run at any smaller kernel and middle width."""

    def __init__(self, block):
        super().__init__()
        self.kind = block["kind"]
        conv = lambda i, o, k, s=1, g=1: nn.Conv2d(i, o, k, s, k // 2, groups=g, bias=False)
        middle = block.get("m", block["in"])
        if self.kind == "conv":
            self.conv, self.norm = conv(block["in"], block["out"], block["k"], block["s"]), Norm(block["out"])
        if self.kind == "mbconv":
            self.expand, self.expand_norm = conv(block["in"], middle, 1), Norm(middle)
        if self.kind in ("mbconv", "dsconv"):
            self.depthwise = conv(middle, middle, block["k"], block["s"], middle)
            self.depthwise_norm = Norm(middle)
            self.project, self.project_norm = conv(middle, block["out"], 1), Norm(block["out"])
            self.to5, self.to3 = nn.Parameter(torch.eye(25)), nn.Parameter(torch.eye(9))
            if block["se"]:
                self.reduce, self.widen = nn.Conv2d(middle, block["se"], 1), nn.Conv2d(block["se"], middle, 1)
        if self.kind == "linear":
            self.linear = nn.Linear(block["in"], block["out"], bias=block["bias"])

    def kernel(self, middle, side):
        weight = self.depthwise.weight[:middle]
        if side <= 5 < weight.shape[2]:
            weight = (weight[:, :, 1:-1, 1:-1].reshape(-1, 25) @ self.to5.t()).view(middle, 1, 5, 5)
        if side <= 3 < weight.shape[2]:
            weight = (weight[:, :, 1:-1, 1:-1].reshape(-1, 9) @ self.to3.t()).view(middle, 1, 3, 3)
        return weight

    def forward(self, x, block):
        if self.kind == "conv":
            return activate(self.norm.active(self.conv(x)), block["act"])
        if self.kind == "pool":
            return x.mean((2, 3), keepdim=True)
        if self.kind == "linear":
            return activate(self.linear(x.flatten(1)), block["act"])
        middle, y = block.get("m", block["in"]), x
        if self.kind == "mbconv":
            y = activate(self.expand_norm.active(F.conv2d(y, self.expand.weight[:middle])), block["act"])
        weight = self.kernel(middle, block["k"])
        y = F.conv2d(y, weight, None, block["s"], block["k"] // 2, groups=middle)
        y = activate(self.depthwise_norm.active(y), block["act"])
        if block["se"]:
            n, m = block["se"], middle
            gate = y.mean((2, 3), keepdim=True)
            gate = F.relu(F.conv2d(gate, self.reduce.weight[:n, :m], self.reduce.bias[:n]))
            y = y * F.hardsigmoid(F.conv2d(gate, self.widen.weight[:m, :n], self.widen.bias[:m]))
        y = self.project_norm.active(F.conv2d(y, self.project.weight[:, :middle]))
        return x + y if block["res"] else y


class Supernet(nn.Module):
    def __init__(self, full):
        super().__init__()
        self.blocks = nn.ModuleList(Elastic(block) for block in full)

    def forward(self, x, blocks):
        for module, block in zip(self.blocks, blocks):
            x = module(x, block)
        return x


def main():
    job = json.load(sys.stdin)
    torch.manual_seed(0)
    torch.set_num_threads(job["threads"])
    full, subnet = ([parse(line) for line in job[name]] for name in ("full", "subnet"))
    device, precision = job.get("device", "cpu"), job.get("precision", "fp32")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    mixed = lambda: torch.autocast(device.split(":")[0], torch.bfloat16, enabled=precision == "bf16")
    net = Supernet(full).to(device, memory_format=torch.channels_last).train()
    teacher = Supernet(full).to(device, memory_format=torch.channels_last).eval()
    groups = [[p for p in net.parameters() if (p.dim() > 1) == decays] for decays in (True, False)]
    sgd = torch.optim.SGD([{"params": groups[0], "weight_decay": 3e-5}, {"params": groups[1]}],
                          lr=0.01, momentum=0.9, nesterov=True, foreach=True)
    side = job["side"]
    images = torch.randn(job["batch"], full[0]["in"], side, side).contiguous(memory_format=torch.channels_last).to(device)
    labels = torch.randint(0, full[-1]["out"], (job["batch"],)).to(device)

    def step(blocks, distilled):
        with mixed():
            logits = net(images, blocks)
        logits = logits.float()
        loss = F.cross_entropy(logits, labels, label_smoothing=0.1)
        if distilled:
            with torch.no_grad(), mixed():
                soft = teacher(images, full).float().softmax(1)
            loss = loss + F.cross_entropy(logits, soft)
        sgd.zero_grad(set_to_none=True)
        loss.backward()
        sgd.step()
        return loss.item()

    times = {}
    for name, blocks, distilled in (("full", full, False), ("subnet", subnet, True)):
        samples = []
        for index in range(job["warm_up"] + job["steps"]):
            start = time.perf_counter()
            step(blocks, distilled)
            if index >= job["warm_up"]:
                samples.append(time.perf_counter() - start)
        times[name] = samples
    if device != "cpu":
        times["peak_memory_bytes"] = torch.cuda.max_memory_allocated()
    print(json.dumps(times))


main()
