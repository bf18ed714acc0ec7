"""Deployment targets as data: one TOML file each."""

from onnxcompress.targets.loading import load_target, target_names
from onnxcompress.targets.target import Target

__all__ = ["Target", "load_target", "target_names"]
