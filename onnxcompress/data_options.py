"""Where samples come from, as the command line and the Python API say it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from onnxcompress.errors import DataError, UsageError

if TYPE_CHECKING:
    from onnxcompress.data import DataSource


@dataclass(frozen=True)
class DataOptions:
    """Where samples come from and how they are preprocessed; the fields are the command line's data flags.

    Attributes:
        spec: Path, ``file.py:function``, dict of arrays, iterable of dicts, torch DataLoader or DataSource.
        eval_spec: The same, for samples that only measure.
        settings: Keyword arguments of `onnxcompress.data.open_data` (mapping, preset, mean, std, scale, layout,
            channel_order, samples, labels).
        eval_mapping: Replaces `settings["mapping"]` for `eval_spec`, e.g. the test arrays of the same file.
    """

    spec: Any = None
    eval_spec: Any = None
    settings: dict[str, Any] = field(default_factory=dict)
    eval_mapping: dict[str, str] | None = None

    def open(self, model: Any, *, seed: int = 0) -> tuple[DataSource | None, DataSource | None]:
        """Both sources, opened against the inputs of `model`; `seed` chooses where only some samples are wanted.

        Labels that do not fit the samples of `spec` are those of `eval_spec`, where there is one.
        """
        from onnxcompress.data import open_data

        samples, elsewhere = (None, True) if self.spec is None else self._calibration(model, seed)
        if self.eval_spec is None:
            return samples, None
        settings = {k: v for k, v in self.settings.items() if k != "samples"}
        if self.eval_mapping is not None:
            settings["mapping"] = self.eval_mapping
            if not elsewhere:
                settings.pop("labels", None)  # they belong to the other array; ``labels=KEY`` in the mapping names more
        return samples, open_data(self.eval_spec, model, **settings)

    def _calibration(self, model: Any, seed: int) -> tuple[DataSource, bool]:
        """The samples of `spec`, and whether the labels can only be those of `eval_spec`."""
        from onnxcompress.data import open_data

        drawn: dict[str, Any] = {"seed": seed, **self.settings}
        try:
            return open_data(self.spec, model, **drawn), False
        except (DataError, UsageError):
            if self.eval_spec is None or drawn.pop("labels", None) is None:
                raise
            return open_data(self.spec, model, **drawn), True
