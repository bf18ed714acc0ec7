"""Speed and memory of a distillation step beside the same network and loop written by hand in torch, on the CPU.

    python benchmarks/training_speed.py [--only TEXT] [--rounds 9] [--steps 4] [--out docs/results/training_speed.md]

Three networks are built in torch and exported; batch normalization stays a node. Both sides train all weights with
AdamW, the same loss, clipped gradients and a batch of 64, one thread each.

Speed: ours is the training loop with its batches, by hand is a loop as one writes it; the teacher's numbers are made
once for both. Blocks of some steps take turns, twice by hand in each round; figures are medians of the processor's
seconds a step, and the ratio is the median over the rounds of by hand / ours (above 1: ours is faster). A/A is the
ratio of the two turns by hand: what the machine adds by itself.

Memory: the whole of `distill` beside the whole loop by hand, teacher in ONNX Runtime in both, each in a process of its
own; peak resident memory.

Build: seconds until the first batch can be trained, median of three.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from torch import nn
from torch.nn import functional as nnf
from training_nets import NETS, Logits

BATCH, SAMPLES, RATE, CLIP, HEAT = 64, 640, 1e-4, 5.0, 4.0
STEPS_IN_MEMORY = 12
LOSSES = {True: "hints:0.8,kl:0.2", False: "kl"}
Tensors = dict[str, torch.Tensor]


def export(name: str, path: Path) -> nn.Module:
    """The network and its file."""
    torch.manual_seed(0)
    module = NETS[name]().eval()
    torch.onnx.export(
        Logits(module),
        (torch.zeros(2, 3, 32, 32),),
        str(path),
        input_names=["x"],
        output_names=["logits"],
        dynamic_axes={"x": {0: "N"}, "logits": {0: "N"}},
        opset_version=20,
        dynamo=False,
        training=torch.onnx.TrainingMode.PRESERVE,
        do_constant_folding=False,
    )
    return module


def pictures() -> np.ndarray:
    """Seeded samples."""
    return np.random.default_rng(0).normal(size=(SAMPLES, 3, 32, 32)).astype(np.float32)


def by_hand(module: nn.Module, teacher: Callable[[np.ndarray], list[torch.Tensor]], x: np.ndarray) -> Iterator[float]:
    """Training as one writes it; a step each time it is asked."""
    optimizer = torch.optim.AdamW(module.parameters(), lr=RATE, weight_decay=0.0)
    random = np.random.default_rng(1)
    while True:
        order = random.permutation(len(x))
        for first, last in pairwise(range(0, len(x) + 1, BATCH)):
            batch = x[order[first:last]]
            targets, *hints = teacher(batch)
            logits, blocks = module(torch.from_numpy(batch))
            mine, theirs = nnf.log_softmax(logits / HEAT, 1), nnf.log_softmax(targets / HEAT, 1)
            loss = nnf.kl_div(mine, theirs, log_target=True, reduction="batchmean") * HEAT**2
            if hints:
                loss = (
                    0.2 * loss
                    + 0.8 * torch.stack([nnf.mse_loss(a, b) for a, b in zip(blocks, hints, strict=True)]).mean()
                )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(module.parameters(), CLIP)
            optimizer.step()
            yield float(loss.detach())


def by_us(path: Path, x: np.ndarray) -> tuple[Callable[[], None], Tensors]:
    """A function that takes one step of the training loop, and the teacher's numbers that it uses."""
    from onnxcompress import model_io
    from onnxcompress.data import ArraySource
    from onnxcompress.distill.adoption import adopt
    from onnxcompress.distill.batches import Batches
    from onnxcompress.distill.bridge import Bridge
    from onnxcompress.distill.comparison import compare
    from onnxcompress.distill.course import Training
    from onnxcompress.distill.losses.recipe import parse_loss
    from onnxcompress.distill.measure import Closeness
    from onnxcompress.distill.objective import build
    from onnxcompress.distill.teacher import Teacher
    from onnxcompress.distill.trainer import Trainer
    from onnxcompress.runtime_options import RuntimeOptions

    model = model_io.load(str(path))
    bridge, feeds, options = Bridge(model), {"x": x[:BATCH]}, RuntimeOptions(threads=1)
    adopted = adopt(model, model_io.load(str(path)), {}, {}, {})
    pair = compare(model, adopted, bridge.specialise(feeds).sizes, feeds, options)
    objective = build(parse_loss(LOSSES[path.stem in HINTED]), pair)
    made = Teacher(adopted.teacher, objective.names, pair.taps, options).tensors(feeds)
    batches = Batches(model, ArraySource({"x": x}), BATCH, seed=1)
    once: Any = _Once(made)
    trainer: Any = Trainer(bridge, once, objective, batches, bridge.trainable())
    stepper, runs, training = trainer.new_stepper(), iter(batches), Training(Closeness(None, 0.0))

    def step() -> None:
        trainer.step(stepper, next(runs), RATE, training)

    return step, {name: made[name] for name in objective.names}


HINTED = ("resnet20",)


class _Once:
    """A teacher whose numbers are the same for every batch."""

    def __init__(self, made: Tensors) -> None:
        self._made = made

    def tensors(self, feeds: Any) -> Tensors:
        """The numbers."""
        return self._made


def speed(name: str, folder: Path, rounds: int, steps: int) -> dict[str, float]:
    """Medians of both sides' seconds a step and of their ratio."""
    x, path = pictures(), folder / f"{name}.onnx"
    module = export(name, path)
    step, made = by_us(path, x)
    loop = by_hand(module, lambda _: list(made.values()), x)
    turns: dict[str, list[float]] = {"hand": [], "ours": [], "again": []}
    calls: dict[str, Callable[[], Any]] = {"hand": lambda: next(loop), "ours": step, "again": lambda: next(loop)}
    for number in range(rounds + 1):
        for side in (*calls,) if number % 2 else (*calls,)[::-1]:
            began = time.process_time()
            for _ in range(steps):
                calls[side]()
            if number:  # the first round warms up
                turns[side].append((time.process_time() - began) / steps)
    columns = list(zip(turns["hand"], turns["ours"], turns["again"], strict=True))
    return {
        "hand": statistics.median([*turns["hand"], *turns["again"]]),
        "ours": statistics.median(turns["ours"]),
        "ratio": statistics.median((a + b) / 2 / ours for a, ours, b in columns),
        "aa": statistics.median(a / b for a, _, b in columns),
        "least": min([*turns["hand"], *turns["again"]]) / min(turns["ours"]),
    }


def build_seconds(path: Path) -> float:
    """From the file in memory to a module that trains."""
    from onnxcompress import model_io
    from onnxcompress.distill.bridge import Bridge

    model, times = model_io.load(str(path)), list[float]()
    for _ in range(3):
        began = time.perf_counter()
        Bridge(model).specialise({"x": pictures()[:BATCH]})
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def memory(side: str, name: str, folder: Path) -> float:
    """Peak resident MiB of a process that trains on one side."""
    words = [sys.executable, __file__, "--memory", side, "--only", name, "--work", str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env={**os.environ})
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return float(done.stdout.split()[-1])


def train_in_memory(side: str, name: str, folder: Path) -> float:
    """Train; the peak of this process in MiB."""
    x, path = pictures(), folder / f"{name}.onnx"
    if side == "ours":
        _distil(path, x)
    else:
        torch.manual_seed(1)
        loop = by_hand(NETS[name]().eval(), _session(path, name), x)
        for _ in range(STEPS_IN_MEMORY):
            next(loop)
    return _peak()


def _peak() -> float:
    """Peak resident MiB of this process; ru_maxrss would count the process that started it as well."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def _distil(path: Path, x: np.ndarray) -> None:
    import onnx_ir as ir

    from onnxcompress import graph, model_io
    from onnxcompress.data import ArraySource
    from onnxcompress.distill.distillation import Job, distill
    from onnxcompress.distill.settings import Settings
    from onnxcompress.runtime_options import RuntimeOptions

    teacher = model_io.load(str(path))
    student = graph.clone(teacher)
    random = np.random.default_rng(2)
    for value in student.graph.initializers.values():
        tensor = value.const_value
        if tensor is not None and len(tensor.shape) > 1 and tensor.dtype.is_floating_point():
            noisy = tensor.numpy() * random.uniform(0.7, 1.3, tensor.shape.numpy())
            value.const_value = ir.tensor(noisy.astype(np.float32), name=value.name)
    settings = Settings(steps=STEPS_IN_MEMORY, batch_size=BATCH, rate=RATE, loss=LOSSES[path.stem in HINTED], close=1.0)
    distill(Job(student, teacher, ArraySource({"x": x}), None, settings, RuntimeOptions(threads=1)))


def _session(path: Path, name: str) -> Callable[[np.ndarray], list[torch.Tensor]]:
    """The teacher in ONNX Runtime, as one calls it by hand; blocks are outputs where hints are used."""
    import onnx

    from onnxcompress import model_io
    from onnxcompress.distill.taps import candidates

    names = [*candidates(model_io.load(str(path)))] if name in HINTED else []
    proto = onnx.load(str(path))
    proto.graph.output.extend(onnx.helper.make_empty_tensor_value_info(n) for n in names)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda batch: [torch.from_numpy(a) for a in session.run(["logits", *names], {"x": batch})]


def measured(name: str, folder: Path, rounds: int, steps: int) -> dict[str, float]:
    """All figures of one network."""
    row = speed(name, folder, rounds, steps)
    row["build"] = build_seconds(folder / f"{name}.onnx")
    row["hand_mib"], row["ours_mib"] = (memory(side, name, folder) for side in ("hand", "ours"))
    print(name, {k: round(v, 4) for k, v in row.items()}, flush=True)
    return row


def page(rows: dict[str, dict[str, float]], rounds: int, steps: int, load: str) -> str:
    """The results page."""
    head = "| network | ms by hand | ms ours | speed | best of each | A/A | MiB by hand | MiB ours | memory | build s |"
    lines = [
        f"| {name} | {1e3 * r['hand']:.1f} | {1e3 * r['ours']:.1f} | {r['ratio']:.3f} x | {r['least']:.3f} x "
        f"| {r['aa']:.3f} | {r['hand_mib']:.0f} | {r['ours_mib']:.0f} | {r['ours_mib'] / r['hand_mib']:.2f} x "
        f"| {r['build']:.2f} |"
        for name, r in rows.items()
    ]
    text = (__doc__ or "").split("\n\n", 2)[2].strip()
    intro = f"Written by `python benchmarks/training_speed.py --rounds {rounds} --steps {steps} --out ...`; {load}."
    table = "\n".join([head, "|---" * 10 + "|", *lines])
    return f"# Training: speed and memory beside torch written by hand\n\n{intro}\n\n{text}\n\n{table}\n"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--memory", choices=("hand", "ours"), help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.memory:
        print(train_in_memory(given.memory, given.only, given.work))
        return
    with tempfile.TemporaryDirectory() as folder:
        names = [name for name in NETS if given.only in name]
        rows = {name: measured(name, Path(folder), given.rounds, given.steps) for name in names}
    load = f"torch {torch.__version__}, one thread, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    text = page(rows, given.rounds, given.steps, load)
    if given.out:
        given.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
