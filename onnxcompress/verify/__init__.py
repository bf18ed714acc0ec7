"""Checks of a result: structure, interface, equal numbers, quality on samples, gates."""

from onnxcompress.verify.comparison import Comparison
from onnxcompress.verify.exact import TOLERANCES, check_exact, tolerance_of
from onnxcompress.verify.failure import VerifyFailure
from onnxcompress.verify.gate import Drop, Gate, loss
from onnxcompress.verify.goal import Goal, Reached
from onnxcompress.verify.interface import check_interface
from onnxcompress.verify.numbers import Distance, OutputComparison
from onnxcompress.verify.producers import comparable
from onnxcompress.verify.quality import Metric, class_output, compare
from onnxcompress.verify.scores import check_labels
from onnxcompress.verify.structure import check_structure, checker_complaint, inference_complaint

__all__ = [
    "TOLERANCES",
    "Comparison",
    "Distance",
    "Drop",
    "Gate",
    "Goal",
    "Metric",
    "OutputComparison",
    "Reached",
    "VerifyFailure",
    "check_exact",
    "check_interface",
    "check_labels",
    "check_structure",
    "checker_complaint",
    "class_output",
    "comparable",
    "compare",
    "inference_complaint",
    "loss",
    "tolerance_of",
]
