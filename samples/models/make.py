"""Train a sample network on 4,000 Fashion-MNIST pictures, or build it at any size with random weights.

    python samples/models/make.py NAME [--half] [--seed 0] [--out FILE.onnx]
    python samples/models/make.py NAME --twins 3
    python samples/models/make.py NAME --random --width 1 --size 224 --channels 3 --classes 1000 --out FILE.onnx

NAME is vgg16 (here with BatchNorm), resnet50, alexnet, mobilenet_v1 or mobilenet_v2: the published architectures,
narrower, for pictures of 32 x 32 (alexnet, whose strides need more: 64 x 64, each pixel twice). `--half` halves every
width: what a smaller network trained from scratch reaches. `--twins N` trains N of them and writes their accuracies to
twins.json.

Input `image` N x C x H x W, (x / 255 - 0.2860) / 0.3530; output `logits` N x classes. The same weights on every run of
one PyTorch version; one thread, a minute or two.
"""

from __future__ import annotations

import argparse
import importlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

HERE = Path(__file__).parent
MEAN, STD = 0.2860, 0.3530
BATCH, SMOOTHING, DECAY = 32, 0.05, 5e-2


@dataclass(frozen=True)
class Plan:
    """Shape and training of a sample network.

    Attributes:
        width: Fraction of the published widths.
        epochs: Passes over the 4,000 pictures.
        rate: Largest learning rate of the one cycle.
        size: Pixels a side.
        channels: Of a picture.
        classes: Of the answer.
        norm: BatchNorm in a network that was published without.
    """

    width: float
    epochs: int
    rate: float = 3e-3
    size: int = 32
    channels: int = 1
    classes: int = 10
    norm: bool = False


PLANS = {
    "vgg16": Plan(3 / 32, 16, rate=2e-3, norm=True),
    "resnet50": Plan(1 / 8, 10, rate=2e-3),
    "alexnet": Plan(1 / 8, 40, rate=1e-3, size=64),
    "mobilenet_v1": Plan(1 / 4, 12),
    "mobilenet_v2": Plan(1 / 4, 12),
}


def network(name: str, plan: Plan, seed: int) -> nn.Module:
    """The network with He's initial weights (He et al. 2015), so that signals keep their size through many layers."""
    torch.manual_seed(seed)
    net: nn.Module = importlib.import_module(name).build(
        plan.width, plan.classes, plan.channels, plan.size, *((True,) if plan.norm else ())
    )
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(
                layer.weight, mode="fan_out" if layer.groups == 1 else "fan_in", nonlinearity="relu"
            )
        elif isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return net


def pictures(part: str, size: int) -> tuple[Tensor, Tensor]:
    """Prepared pictures, N x 1 x size x size, and their classes."""
    with np.load(HERE.parent / "data" / "fashion.npz") as data:
        raw, labels = torch.from_numpy(data[f"x_{part}"]), torch.from_numpy(data[f"y_{part}"].astype(np.int64))
    times = size // raw.shape[-1]
    raw = raw.repeat_interleave(times, 1).repeat_interleave(times, 2)
    return (raw[:, None] / 255 - MEAN) / STD, labels


def augmented(batch: Tensor, generator: torch.Generator) -> Tensor:
    """Mirrored by chance, and moved by up to a sixteenth of the side."""
    mirrored = torch.rand(len(batch), generator=generator) < 0.5
    batch = torch.where(mirrored[:, None, None, None], batch.flip(-1), batch)
    reach = batch.shape[-1] // 16
    dy, dx = (int(v) for v in torch.randint(-reach, reach + 1, (2,), generator=generator))
    return torch.roll(batch, (dy, dx), (2, 3))


def train(net: nn.Module, plan: Plan, seed: int) -> None:
    """AdamW with one cycle of the learning rate."""
    images, labels = pictures("train", plan.size)
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(net.parameters(), lr=plan.rate, weight_decay=DECAY)
    steps = len(images) // BATCH
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, plan.rate, total_steps=plan.epochs * steps)
    for epoch in range(plan.epochs):
        order = torch.randperm(len(images), generator=generator)[: steps * BATCH]
        total = 0.0
        for rows in order.split(BATCH):
            batch = augmented(images[rows], generator)
            loss = F.cross_entropy(net(batch), labels[rows], label_smoothing=SMOOTHING)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            cycle.step()
            total += float(loss.detach())
        print(f"epoch {epoch + 1:2} of {plan.epochs}: loss {total / steps:.3f}", flush=True)


@torch.no_grad()
def accuracy(net: nn.Module, plan: Plan) -> float:
    """Fraction of the 1,500 test pictures."""
    net.eval()
    images, labels = pictures("test", plan.size)
    answers = torch.cat([net(part).argmax(1) for part in images.split(250)])
    return float((answers == labels).float().mean())


def export(net: nn.Module, plan: Plan, path: Path) -> None:
    """BatchNorm stays a node of its own, so that the passes have something to fold; Dropout does not."""
    net.eval()
    for layer in [m for m in net.modules() if isinstance(m, nn.Dropout)]:
        layer.p = 0.0
    torch.onnx.export(
        net,
        (torch.zeros(1, plan.channels, plan.size, plan.size),),
        str(path),
        input_names=["image"],
        output_names=["logits"],
        dynamic_axes={"image": {0: "N"}, "logits": {0: "N"}},
        opset_version=17,
        dynamo=False,
        training=torch.onnx.TrainingMode.PRESERVE,
        do_constant_folding=False,
    )


def trained(name: str, plan: Plan, seed: int) -> nn.Module:
    """A network and what it reads."""
    net = network(name, plan, seed)
    train(net, plan, seed)
    print(f"{name} at width {plan.width:g}, seed {seed}: {100 * accuracy(net, plan):.2f} % of 1,500 test pictures")
    return net


def twins(name: str, plan: Plan, count: int) -> None:
    """Accuracies of networks of half the width, seed by seed, into twins.json."""
    log = HERE / "twins.json"
    known = json.loads(log.read_text(encoding="utf-8")) if log.exists() else {}
    known[name] = [round(100 * accuracy(trained(name, plan, seed), plan), 2) for seed in range(count)]
    log.write_text(json.dumps(dict(sorted(known.items())), indent=1) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=list(PLANS))
    parser.add_argument("--half", action="store_true", help="half of every width")
    parser.add_argument("--random", action="store_true", help="weights as they are drawn, no training")
    parser.add_argument(
        "--twins", type=int, metavar="N", help="train N networks of half the width, keep the accuracies"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, metavar="FILE.onnx")
    parser.add_argument("--norm", action=argparse.BooleanOptionalAction)
    for option, kind in (("width", float), ("epochs", int), ("size", int), ("channels", int), ("classes", int)):
        parser.add_argument(f"--{option}", type=kind)
    given = parser.parse_args()
    asked = {
        k: v for k in ("norm", "width", "epochs", "size", "channels", "classes") if (v := getattr(given, k)) is not None
    }
    plan = replace(PLANS[given.name], **asked)
    if given.half or given.twins:
        plan = replace(plan, width=plan.width / 2)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    if given.twins:
        twins(given.name, plan, given.twins)
        return
    net = network(given.name, plan, given.seed) if given.random else trained(given.name, plan, given.seed)
    export(net, plan, given.out or HERE / f"{given.name}{'_half' if given.half else ''}.onnx")


if __name__ == "__main__":
    main()
