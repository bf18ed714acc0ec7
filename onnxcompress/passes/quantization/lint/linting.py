"""Every rule of a target's runtime over every node of a model."""

from __future__ import annotations

import onnx_ir as ir

from onnxcompress.graph import iter_nodes, label
from onnxcompress.passes.quantization.lint import onnxruntime, openvino, tensorrt
from onnxcompress.passes.quantization.lint.rule import Place, Rule
from onnxcompress.report import Finding, Severity
from onnxcompress.targets import Target


def rules_of(target: Target) -> tuple[Rule, ...]:
    """The rules that the target's runtime goes by; none for targets that are no one runtime."""
    return {"tensorrt": tensorrt.RULES, "openvino": openvino.RULES, "onnxruntime": onnxruntime.RULES}.get(
        target.lint, ()
    )


def lint(model: ir.Model, target: Target) -> list[Finding]:
    """Every node that breaks a rule of the target's runtime, node by node; empty where all is well.

    Args:
        model: Any model, quantized by any tool.
        target: Whose rules apply.

    Returns:
        Findings with the rule's code, the node, the sentence, and in `numbers` the rule's ``source``.
    """
    found: list[Finding] = []
    for node in iter_nodes(model):
        place = Place(model, node)
        for rule in rules_of(target):
            if rule.applies(node):
                found += [_finding(rule, node, said, target) for said in rule.check(place)]
    return found


def _finding(rule: Rule, node: ir.Node, said: str, target: Target) -> Finding:
    message = f"{target.name} {rule.effect} this {node.op_type}: {said}"
    return Finding(rule.code, message, label(node), Severity.WARNING, {"source": rule.source})
