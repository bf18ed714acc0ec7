"""Deployment targets as data: one TOML file each."""

from onnxcompress.targets.target import Target, load_target, target_names

__all__ = ["Target", "load_target", "target_names"]
