"""Passes, one a file. `onnxcompress.registry` maps their names to classes without importing them."""

from onnxcompress.passes.base import Analyses, Context, Effect, Pass, RuntimeOptions, Scope, option

__all__ = ["Analyses", "Context", "Effect", "Pass", "RuntimeOptions", "Scope", "option"]
