"""The last word has ONNX Runtime: the student as it came, and as it would be written, on samples that judge.

What training sees is the torch form. Where that differs from what will run (an integer kernel that fuses a bias whose
scale is another), figures of the torch form would be wrong, and a worse file could be taken for a better one.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir
import torch

from onnxcompress import graph
from onnxcompress.distill.bridge import Bridge, bridge_for
from onnxcompress.distill.comparison import tensor_names
from onnxcompress.distill.course import put_back
from onnxcompress.distill.job import Job
from onnxcompress.distill.measure import Closeness, Examiner
from onnxcompress.distill.outputs import Answer
from onnxcompress.distill.write_back import write_back


class Verdict:
    """Measures the student of one job.

    Args:
        job: The job.
        judge: The samples that decide.
        answers: The tensors compared.
    """

    def __init__(self, job: Job, judge: Examiner, answers: Sequence[Answer]) -> None:
        self._job, self._judge = job, judge
        # Tensors inside a local function have no name that a session could give.
        self._in_torch = not {a.name for a in answers} <= tensor_names(job.student)

    def before(self, bridge: Bridge) -> Closeness:
        """The student as it came."""
        return self._closeness(self._job.student, bridge)

    def after(self, bridge: Bridge, start: Sequence[torch.Tensor]) -> Closeness:
        """The student as it would be written from `bridge`, whose tensors were `start`; it is not edited."""
        trial = graph.clone(self._job.student)
        twin = bridge_for(trial, self._job.settings)
        put_back(twin.parameters, bridge.parameters)
        write_back(trial, twin, list(start))
        return self._closeness(trial, bridge)

    def _closeness(self, model: ir.Model, bridge: Bridge) -> Closeness:
        return self._judge.measure(bridge) if self._in_torch else self._judge.measure_file(model, self._job.runtime)
