"""The report's data classes and their JSON form (schema ``onnxcompress.report/1``)."""

from __future__ import annotations

import enum
import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

SCHEMA = "onnxcompress.report/1"
_FLOAT_BY_CHOICE = ("QUANT-ISLAND",)  # nodes that could run on integers and were left float for what they would cost


class Severity(enum.StrEnum):
    """How much a finding matters to a reader."""

    INFO = "info"
    WARNING = "warning"


@dataclass(frozen=True)
class Finding:
    """One thing that a pass did, left alone, or noticed.

    Attributes:
        code: Stable reason code, upper case with dashes, e.g. ``PRUNE-FROZEN-OUTPUT``.
        message: One sentence for a person.
        node: Name of the node or tensor concerned; empty for the whole model.
        severity: INFO, or WARNING where the user should look.
        numbers: Measured values that belong to the finding, JSON scalars only.
    """

    code: str
    message: str
    node: str = ""
    severity: Severity = Severity.INFO
    numbers: Mapping[str, float | int | str] = field(default_factory=dict[str, float | int | str])


@dataclass
class PassRecord:
    """What one pass did.

    Attributes:
        name: Registered name of the pass.
        spec: Its options as a recipe entry (plain JSON values).
        changed: False where the graph came out as it went in.
        seconds: Wall time of run and verification; kept out of the model itself.
        before: Costs before (keys params, macs, bytes, nodes).
        after: Costs after.
        findings: In the order the pass gave them.
        checks: Results of the verification, e.g. ``{"max_abs": 1e-6}``.
    """

    name: str
    spec: dict[str, Any]
    changed: bool
    seconds: float
    before: dict[str, int]
    after: dict[str, int]
    findings: list[Finding] = field(default_factory=list)
    checks: dict[str, Any] = field(default_factory=dict)


@dataclass
class Report:
    """The whole run: environment, recipe, costs and quality before and after, one record a pass.

    Attributes:
        recipe: The passes as recipe entries, enough to repeat the run.
        before: Costs of the input model (params, macs, bytes, nodes).
        after: Costs of the output model.
        quality: Measured on held-out samples: keys such as top1_agreement, accuracy_before, accuracy_after,
            relative_l2, cosine, sqnr_db, samples, interval; empty where no data was given.
        latency: Measured times in milliseconds, empty where not asked for.
        passes: One record a pass.
        notes: Sentences about the run as a whole, e.g. "accuracy NOT measured".
        fingerprints: sha256 of input and output.
        environment: Versions, provider, threads.
        teacher: Fingerprint of the teacher, where one was given.
    """

    recipe: list[dict[str, Any]] = field(default_factory=list)
    before: dict[str, int] = field(default_factory=dict)
    after: dict[str, int] = field(default_factory=dict)
    quality: dict[str, Any] = field(default_factory=dict)
    latency: dict[str, Any] = field(default_factory=dict)
    passes: list[PassRecord] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    fingerprints: dict[str, str] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    teacher: str = ""

    @property
    def findings(self) -> list[Finding]:
        """All findings, pass by pass."""
        return [finding for record in self.passes for finding in record.findings]

    @property
    def exclude(self) -> list[str]:
        """``--exclude NAME`` for each node that was left float by choice, quoted for a shell; often empty."""
        names = dict.fromkeys(f.node for f in self.findings if f.code in _FLOAT_BY_CHOICE and f.node)
        return [f"--exclude {shlex.quote(name)}" for name in names]

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON values, with its schema's name; ``exclude`` only where there is any."""
        return {"schema": SCHEMA, **asdict(self), **({"exclude": " ".join(self.exclude)} if self.exclude else {})}

    def to_json(self) -> str:
        """The report as indented JSON text, keys in the order of the schema."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False)

    def __str__(self) -> str:
        from onnxcompress.report.table import to_text

        return to_text(self)
