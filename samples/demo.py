"""The whole tool in one run: a CNN that reads digits is pruned, distilled and quantized, by commands and by recipe.

    make demo        (or: python samples/demo.py)

Every figure of the table at the end is measured in this run: accuracy on 1,000 pictures that nothing was fitted to,
latency of ONNX Runtime with the float model and the result side by side. `--readme README.md` writes the table there.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx_ir as ir
from rich.console import Console
from rich.table import Table

from onnxcompress import model_io, verify
from onnxcompress.cost import costs
from onnxcompress.data import DataSource, open_data
from onnxcompress.runtime import LatencyResult, batch_for, latency
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
    measured = measure(files)
    show(*measured)
    if sys.argv[1:2] == ["--readme"]:
        write_readme(Path(sys.argv[2]), *measured)
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


def measure(files: dict[str, Path]) -> tuple[list[str], list[list[str]], list[str]]:
    """Headings, one row a model, and what the A/A runs say: costs, accuracy, latency at batch 1 and at a larger one."""
    models = {name: model_io.load(path) for name, path in files.items()}
    mean, std = float(PICTURES["mean"]), float(PICTURES["std"])
    test = open_data(
        str(DATA), models["float"], mapping={"image": "x_test"}, mean=mean, std=std, scale=PICTURES["scale"]
    )
    one = test.read(np.arange(1))
    many = batch_for(models["float"], one, min_ms=10, options=ONE_THREAD)
    timed = [latency(models, feeds, options=ONE_THREAD) for feeds in (one, many)]
    headings = ["model", "params", "MACs", "kB", "smaller", "accuracy", *(f"batch {t.batch}" for t in timed)]
    rows = [_row(name, model, models["float"], files, test, timed) for name, model in models.items()]
    return headings, rows, [_verdict(t) for t in timed]


def _row(
    name: str, model: ir.Model, original: ir.Model, files: dict[str, Path], test: DataSource, timed: list[LatencyResult]
) -> list[str]:
    cost, size = costs(model), files[name].stat().st_size
    accuracy = verify.compare(original, model, test, options=ONE_THREAD).accuracy_candidate or 0.0
    figures = [f"{cost.params / 1e3:.0f} k", f"{cost.macs / 1e6:.1f} M", f"{size / 1e3:.0f}"]
    figures += [f"{MODEL.stat().st_size / size:.1f} x", f"{100 * accuracy:.1f} %"]
    return [name, *figures, *(f"{t.ms[name]:.2f} ms" for t in timed)]


def _verdict(timed: LatencyResult) -> str:
    side = "beyond" if timed.beyond_noise("recipe") else "within"
    return (
        f"batch {timed.batch}: the recipe's file is {timed.ratio['recipe']:.2f} x as fast as the float model, "
        f"{side} the A/A spread ({100 * timed.spread:.1f} %)"
    )


def show(headings: list[str], rows: list[list[str]], verdicts: list[str]) -> None:
    """The table, at most 80 columns."""
    table = Table(title="ONNX Runtime, 1 thread, 1,000 test pictures", width=80)
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "model" else "right")
    for row in rows:
        table.add_row(*row)
    console.print(table)
    for verdict in verdicts:
        console.print(verdict, highlight=False)


def write_readme(path: Path, headings: list[str], rows: list[list[str]], verdicts: list[str]) -> None:
    """Replace what stands between README's two marks."""
    lines = [f"| {' | '.join(row)} |" for row in [headings, ["---"] * len(headings), *rows]]
    text = "\n".join([*lines, "", *(f"{verdict}." for verdict in verdicts)])
    begin, end = "<!-- demo table: begin -->", "<!-- demo table: end -->"
    before, rest = path.read_text(encoding="utf-8").split(begin)
    path.write_text(f"{before}{begin}\n{text}\n{end}{rest.split(end)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main()
