"""Reports for the tests of tables, pages and files."""

from __future__ import annotations

from onnxcompress.report import Finding, PassRecord, Report
from onnxcompress.report.records import Severity


def costs(params: int, macs: int, size: int, nodes: int) -> dict[str, int]:
    return {"params": params, "macs": macs, "bytes": size, "nodes": nodes}


def timed_run(batch: int, before: float, after: float, *, beyond_noise: bool = True) -> dict[str, object]:
    """What `LatencyResult.to_dict` gives."""
    models = {
        "before": {"ms": before, "ratio": 1.0, "beyond_noise": False},
        "after": {"ms": after, "ratio": before / after, "beyond_noise": beyond_noise},
    }
    return {"models": models, "aa_spread": 0.02, "batch": batch, "rounds": 21}


def full_report() -> Report:
    """A report in which everything that can be there is there, with names that attack tables and pages."""
    start, pruned = costs(1_234_567, 98_765_432, 4_938_268, 120), costs(612_345, 50_123_456, 2_450_000, 120)
    end = costs(612_345, 50_123_456, 650_321, 210)
    frozen = Finding("PRUNE-FROZEN-OUTPUT", "the axis reaches an output", "/head/fc/" + "x" * 120)
    hostile = Finding("PRUNE-FROZEN-OP", "[bold]not traced[/bold]", "<script>alert(1)</script>", Severity.WARNING)
    passes = [
        PassRecord("prune-channels", {"pass": "prune-channels", "target_macs": "0.5x"}, True, 4.21, start, pruned),
        PassRecord("insert-qdq", {"pass": "insert-qdq"}, True, 9.9, pruned, end, checks={"sqnr_db": 27.7}),
        PassRecord("normalize", {"pass": "normalize"}, False, 0.1, end, end),
    ]
    passes[0].findings = [frozen, frozen, hostile]
    return Report(
        recipe=[record.spec for record in passes],
        before=start,
        after=end,
        quality={
            "samples": 600,
            "accuracy_before": 0.9731,
            "accuracy_after": 0.9702,
            "interval": [-0.0061, 0.0003],
            "top1_agreement": 0.981,
            "sqnr_db": 27.71,
        },
        latency={"runs": [timed_run(1, 1.0, 0.97, beyond_noise=False), timed_run(64, 21.0, 7.0)]},
        passes=passes,
        notes=["accuracy was measured on few samples"],
        fingerprints={"input": "a" * 64, "output": "b" * 64},
        environment={"onnxcompress": "0.1.0", "providers": ["CPUExecutionProvider"], "threads": 0},
    )
