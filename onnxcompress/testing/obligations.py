"""What a pass owes on one model, one function an obligation."""

from __future__ import annotations

import dataclasses
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxcompress import model_io, verify
from onnxcompress.data import DataSource
from onnxcompress.data.source import ArraySource
from onnxcompress.errors import CompressError
from onnxcompress.graph import clone
from onnxcompress.passes.base import Context, Effect, Pass
from onnxcompress.registry import make_pass
from onnxcompress.report import Finding
from onnxcompress.runtime import Session
from onnxcompress.runtime_options import RuntimeOptions
from onnxcompress.testing.backend import Trial
from onnxcompress.testing.contexts import context

_ONE_THREAD = RuntimeOptions(threads=1)
_CODE = re.compile(r"[A-Z][A-Z0-9]*(-[A-Z0-9]+)+")
# Samples in the data that a pass is given: each input repeated with a little noise.
_SAMPLES = 16


class Broken(Exception):  # noqa: N818
    """An obligation that a pass broke.

    Args:
        code: ``CONFORMANCE-`` and the obligation.
        why: What was wrong, as a clause.
    """

    def __init__(self, code: str, why: str) -> None:
        super().__init__(why)
        self.code, self.why = f"CONFORMANCE-{code}", why


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of one model: whether it changed, the code of a refusal, and the findings' codes."""

    changed: bool
    refused: str = ""
    codes: tuple[str, ...] = ()


def runs(trial: Trial) -> bool:
    """True where ONNX Runtime can run the trial at all."""
    return _outputs(trial.model, trial) is not None


def check_spec(pass_: Pass) -> None:
    """The recipe entry gives the same pass back, and class and docstring say what a user must know.

    Raises:
        CompressError: Where they do not.
    """
    entry = pass_.spec()
    local: dict[str, type[Pass]] = {pass_.name: type(pass_)}
    again = make_pass(entry["pass"], {k: v for k, v in entry.items() if k != "pass"}, local)
    complaint = "" if again == pass_ else f"its recipe entry {entry} gives {again}"
    if not (type(pass_).__doc__ or "").strip():
        complaint = "its class has no docstring, so it has no help text"
    if complaint:
        hint = "Options must be fields of plain types, set with onnxcompress.option()."
        raise CompressError(f"the pass {pass_.name} fails its check", why=complaint, hint=hint, code="CONFORMANCE-SPEC")


def check_trial(pass_: Pass, trial: Trial, *, target: str, idempotent: bool) -> Outcome:
    """Hold `pass_` to everything it owes on one model.

    Raises:
        Broken: At the first obligation that it breaks.
    """
    untouched = _Untouched(trial.model)
    after, findings, refused = _run(pass_, trial, trial.model, target)
    untouched.check()
    if after is None:
        return Outcome(changed=False, refused=refused)
    _check_findings(findings)
    changed = model_io.to_bytes(after) != model_io.to_bytes(trial.model)
    if changed:
        ctx = context(trial.model, target=target)
        _check_result(pass_, trial, after, ctx)
    _check_repeatable(pass_, trial, after, target)
    if idempotent:
        _check_idempotent(pass_, trial, after, target)
    return Outcome(changed, codes=tuple(f.code for f in findings))


def _run(pass_: Pass, trial: Trial, model: ir.Model, target: str) -> tuple[ir.Model | None, list[Finding], str]:
    """The pass on a copy of `model`: the result, the findings, and the code of a refusal."""
    working = clone(model)
    ctx = context(trial.model, data=samples_of(trial), target=target, original=trial.model)
    try:
        return working, list(pass_.run(working, ctx)), ""
    except CompressError as refusal:
        return None, [], refusal.code or type(refusal).__name__


def samples_of(trial: Trial) -> DataSource | None:
    """Random inputs as samples, where every input's first axis can count them."""
    arrays = {name: np.asarray(array) for name, array in trial.feeds.items()}
    lengths = {array.shape[:1] for array in arrays.values()}
    if len(lengths) != 1 or lengths & {(), (0,)}:
        return None
    repeats = -(-_SAMPLES // next(iter(lengths))[0])
    rng = np.random.Generator(np.random.PCG64(0))
    return ArraySource({name: _varied(np.concatenate([a] * repeats), rng) for name, a in arrays.items()})


def _varied(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if array.dtype.kind != "f":
        return array
    return array * rng.uniform(0.5, 1.5, size=(len(array), *[1] * (array.ndim - 1))).astype(array.dtype)


class _Untouched:
    """The original's bytes before the pass, to compare with those after it."""

    def __init__(self, model: ir.Model) -> None:
        self._model, self._bytes = model, model_io.to_bytes(model)

    def check(self) -> None:
        if model_io.to_bytes(self._model) != self._bytes:
            raise Broken("ORIGINAL", "it changed the original model or a weight that it shares")


def _check_findings(findings: list[Any]) -> None:
    for finding in findings:
        if not isinstance(finding, Finding):
            raise Broken("FINDING", f"it yielded {finding!r}, which is no Finding")
        if not _CODE.fullmatch(finding.code) or not finding.message.strip():
            raise Broken("FINDING", f"a finding has the code {finding.code!r} and the message {finding.message!r}")


def _check_result(pass_: Pass, trial: Trial, after: ir.Model, ctx: Context) -> None:
    if pass_.effect is Effect.ANALYSIS:
        raise Broken("ANALYSIS", "an analysis changed the model")
    try:
        verify.check_structure(after, ctx)
        verify.check_interface(trial.model, after)
    except CompressError as failure:
        raise Broken("STRUCTURE", f"{failure.what}: {failure.why}" if failure.why else failure.what) from failure
    _check_numbers(pass_, trial, after)
    _check_saved(after)


def _check_numbers(pass_: Pass, trial: Trial, after: ir.Model) -> None:
    before = _outputs(trial.model, trial)
    found = _outputs(after, trial)
    if before is None:
        return
    if found is None:
        raise Broken("RUN", "the result does not run")
    relative = verify.tolerance_of(trial.model, after).relative
    for name, reference in before.items():
        complaint = _compare(reference, found[name], relative if pass_.effect is Effect.EXACT else None)
        if complaint:
            raise Broken("NUMBERS", f"output {name}: {complaint}")


def _compare(reference: Any, found: Any, relative: float | None) -> str:
    """What is wrong with one output; without a tolerance only its shape, type and finiteness count."""
    if not isinstance(reference, np.ndarray) or reference.dtype.kind not in "biuf":
        return ""
    if found.shape != reference.shape or found.dtype != reference.dtype:
        return f"{reference.dtype}{reference.shape} became {found.dtype}{found.shape}"
    wide, result = reference.astype(np.float64), found.astype(np.float64)
    if relative is None:
        return "numbers are not finite any more" if np.isfinite(wide).all() > np.isfinite(result).all() else ""
    scale = max(1.0, float(np.abs(wide[np.isfinite(wide)]).max(initial=0)))
    same = np.isclose(result, wide, rtol=relative, atol=relative * scale, equal_nan=True)
    return "" if same.all() else f"{int((~same).sum())} of {same.size} numbers changed by more than {relative}"


def _outputs(model: ir.Model, trial: Trial) -> dict[str, Any] | None:
    try:
        return Session(model, _ONE_THREAD, optimize=False).run(trial.feeds)
    except CompressError:  # ONNX Runtime lacks an operator or a type: nothing to compare
        return None


def _check_saved(after: ir.Model) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = model_io.save(after, Path(folder) / "model.onnx")
        if model_io.fingerprint(model_io.load(path)) != model_io.fingerprint(after):
            raise Broken("SAVE", "the result is another one after it was saved and loaded")


def _check_repeatable(pass_: Pass, trial: Trial, after: ir.Model, target: str) -> None:
    again, _, _ = _run(pass_, trial, trial.model, target)
    if again is None or model_io.to_bytes(again) != model_io.to_bytes(after):
        raise Broken("DETERMINISM", "a second run on the same model gave other bytes")


def _check_idempotent(pass_: Pass, trial: Trial, after: ir.Model, target: str) -> None:
    again, _, _ = _run(pass_, trial, after, target)
    if again is None or model_io.to_bytes(again) != model_io.to_bytes(after):
        raise Broken("IDEMPOTENCE", "a second run on the result changed it again")
