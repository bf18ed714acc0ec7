"""What happened, as data: findings, one record a pass, and the report with its renderers."""

from onnxcompress.report.records import Finding, PassRecord, Report, Severity

__all__ = ["Finding", "PassRecord", "Report", "Severity"]
