from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from builders.reports import full_report

from onnxcompress.errors import ResourceError, UsageError
from onnxcompress.report.files import check_report_path, check_writable, write_report


def test_the_suffix_chooses_the_form(tmp_path: Path) -> None:
    page = write_report(full_report(), tmp_path / "r.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    data = json.loads(write_report(full_report(), tmp_path / "r.json").read_text(encoding="utf-8"))
    assert data == full_report().to_dict()
    assert data["schema"] == "onnxcompress.report/1"


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"FILE\.html or FILE\.json"):
        check_report_path(tmp_path / "r.pdf")


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    target = tmp_path / "r.json"
    target.write_text("old")
    with pytest.raises(UsageError, match="--force"):
        write_report(full_report(), target)
    assert target.read_text() == "old"
    write_report(full_report(), target, force=True)
    assert json.loads(target.read_text())["before"]["nodes"] == 120


def test_a_missing_folder_is_a_resource_error(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="no folder"):
        check_writable(tmp_path / "missing" / "r.json")


def test_a_folder_in_the_files_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="folder"):
        check_writable(tmp_path)


def test_a_folder_without_permission_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere, so the answer is forced
    with pytest.raises(ResourceError, match="may not be written"):
        check_writable(tmp_path / "r.json")
