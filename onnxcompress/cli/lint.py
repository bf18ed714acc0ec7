"""``onnxcompress lint``."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from onnxcompress.cli.build import build
from onnxcompress.cli.console import Terminal, write_result
from onnxcompress.cli.options import Group, JsonFlag, LogFlags, ModelPath, flag
from onnxcompress.errors import ModelError

if TYPE_CHECKING:
    from onnxcompress.report import Finding


@dataclass(frozen=True)
class LintFlags(Group):
    """Whose rules apply."""

    panel: ClassVar[str] = "Options"
    target: str = flag("tensorrt", "Deployment target; tensorrt by default.", metavar="NAME", complete="targets")


def lint(model: ModelPath, options: LintFlags, output: JsonFlag, log: LogFlags) -> None:
    """Find what a target's runtime would refuse, or run in float, without having that runtime here.

    Each line is a rule's code, the node, and what is wrong; --json adds the document that the rule is taken from.
    Exits 3 where there are any. Any file will do, whichever tool quantized it.
    """
    from onnxcompress.model_io.precheck import precheck

    source = precheck(model)
    with Terminal(log):
        from onnxcompress.model_io import load
        from onnxcompress.passes.quantization.lint import lint as find
        from onnxcompress.targets import load_target

        findings = find(load(source), load_target(options.target))
    if output.json:
        write_result(json.dumps([dataclasses.asdict(f) for f in findings], indent=2, ensure_ascii=False))
    elif findings:
        write_result("\n".join(_line(f) for f in findings))
    if findings:
        raise ModelError(
            f"{options.target} would not run {model} as it stands",
            why=f"{len({f.node for f in findings})} of its nodes break a rule",
            hint=f"Quantize the float model again with --target {options.target}.",
            code="LINT-FOUND",
        )


def _line(finding: Finding) -> str:
    return f"{finding.code}  {finding.node}  {finding.message}"


def command() -> Any:
    """The command, ready to be run."""
    return build(lint, name="lint")
