"""The whole tool in one run: a CNN that reads digits is pruned, distilled and quantized, by commands and by recipe.

    make demo        (or: python samples/demo.py)

Every figure of the table at the end is measured in this run: accuracy on 1,000 pictures that nothing was fitted to,
latency of ONNX Runtime with the float model and the result side by side.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from onnxcompress import model_io, verify
from onnxcompress.cost import costs
from onnxcompress.data import open_data
from onnxcompress.runtime import batch_for, latency
from onnxcompress.runtime_options import RuntimeOptions

HERE = Path(__file__).parent
OUT = Path("out/demo")
MODEL = HERE / "models" / "cnn.onnx"
DATA = HERE / "data" / "mnist.npz"
PICTURES = {"scale": "1/255", "mean": "0.1307", "std": "0.3081"}
ONE_THREAD = RuntimeOptions(threads=1)

console = Console(width=80)


def main() -> None:
    start = time.perf_counter()
    OUT.mkdir(parents=True, exist_ok=True)
    console.print("[bold]1. The three commands[/bold], one after the other")
    files = {"float": MODEL}
    files["pruned"] = command("prune", MODEL, "pruned.onnx", "--target-macs", "0.15x")
    files["distilled"] = command("distill", files["pruned"], "distilled.onnx", "--teacher", str(MODEL))
    files["int8"] = command("quantize", files["distilled"], "int8.onnx")
    console.print("\n[bold]2. The same as one recipe[/bold], with a gate: no file if accuracy drops a point")
    files["recipe"] = command("run", HERE / "demo.toml", "recipe.onnx", str(MODEL), "--max-drop", "1pt")
    console.print()
    show(files)
    console.print(f"\n{time.perf_counter() - start:.0f} s in all; the models are in {OUT}/")


def command(name: str, model: Path, output: str, *options: str) -> Path:
    """Run one onnxcompress command as a user types it, and return the file that it names on stdout."""
    pictures = [word for key, value in PICTURES.items() for word in (f"--{key}", value)]
    data = ["--data", str(DATA), "--map", "image=x_train", "--eval-data", str(DATA), "--eval-map", "image=x_test"]
    line = ["onnxcompress", name, str(model), *options, *data, *pictures, "--threads", "1"]
    line += ["-o", str(OUT / output), "--force"]
    console.print(f"\n[cyan]$ {shlex.join(line)}[/cyan]", highlight=False, soft_wrap=True)
    done = subprocess.run([sys.executable, "-m", *line], stdout=subprocess.PIPE, text=True, check=True)
    return Path(done.stdout.strip())


def show(files: dict[str, Path]) -> None:
    """One row a model: costs, accuracy, latency at batch 1 and at a batch whose float pass takes 10 ms or more."""
    models = {name: model_io.load(path) for name, path in files.items()}
    settings = {**{k: float(v) for k, v in PICTURES.items() if k != "scale"}, "scale": PICTURES["scale"]}
    test = open_data(str(DATA), models["float"], mapping={"image": "x_test"}, **settings)
    one = test.read(np.arange(1))
    many = batch_for(models["float"], one, min_ms=10, options=ONE_THREAD)
    single, batched = (latency(models, feeds, options=ONE_THREAD) for feeds in (one, many))
    table = Table(title=f"ONNX Runtime, 1 thread, {len(test)} test pictures", width=80)
    for heading in ("model", "params", "MACs", "kB", "smaller", "accuracy", "batch 1", f"batch {batched.batch}"):
        table.add_column(heading, justify="left" if heading == "model" else "right")
    size = MODEL.stat().st_size
    for name, model in models.items():
        cost, bytes_ = costs(model), files[name].stat().st_size
        compared = verify.compare(models["float"], model, test, options=ONE_THREAD)
        table.add_row(
            name,
            f"{cost.params / 1e3:.0f} k",
            f"{cost.macs / 1e6:.1f} M",
            f"{bytes_ / 1e3:.0f}",
            f"{size / bytes_:.1f} x",
            f"{100 * (compared.accuracy_candidate or 0):.1f} %",
            f"{single.ms[name]:.2f} ms",
            f"{batched.ms[name]:.2f} ms",
        )
    console.print(table)
    for label, timed in ((1, single), (batched.batch, batched)):
        verdict = "beyond" if timed.beyond_noise("recipe") else "within"
        console.print(
            f"batch {label}: recipe {timed.ratio['recipe']:.2f} x as fast as float, {verdict} the A/A spread "
            f"({100 * timed.spread:.1f} %)",
            highlight=False,
        )


if __name__ == "__main__":
    main()
