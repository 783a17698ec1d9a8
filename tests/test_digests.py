# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Digests of files, and what has changed since they were noted."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from monai_fss import digests as module
from monai_fss.digests import changes, digests


def test_a_note_tells_what_files_hold_and_which_have_changed(tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("a", "b", "c")}
    for name, file in files.items():
        file.write_bytes(name.encode())
    (tmp_path / "series").mkdir()
    (tmp_path / "series" / "1.dcm").write_bytes(b"1")
    files["series"] = tmp_path / "series"
    before = json.loads(json.dumps(digests(files)))
    assert before["a"]["sha256"] == hashlib.sha256(b"a").hexdigest()
    assert changes(before, digests(files)) == {}
    stat = files["a"].stat()
    files["a"].write_bytes(b"x")
    os.utime(files["a"], ns=(stat.st_atime_ns, stat.st_mtime_ns))  # as large and as old as it was
    (tmp_path / "series" / "2.dcm").write_bytes(b"2")
    files["b"].unlink()
    now = digests({"a": files["a"], "d": files["c"], "b": files["b"], "series": files["series"]}, before)
    assert changes(before, now) == {"a": "changed", "d": "new", "b": "changed", "series": "changed", "c": "missing"}
    assert now["b"] == {"sha256": None, "state": None}


def test_where_files_lie_and_when_they_were_written_does_not_count(tmp_path: Path) -> None:
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "a").write_bytes(b"same")
    os.utime(tmp_path / "two" / "a", (1, 1))
    before = digests({"a": tmp_path / "one" / "a"})
    now = digests({"a": tmp_path / "two" / "a"}, before)
    assert changes(before, now) == {} and now["a"]["state"] != before["a"]["state"]


def test_a_file_of_the_same_size_and_times_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"a")
    before = json.loads(json.dumps(digests({"a": tmp_path / "a"})))
    monkeypatch.setattr(module, "sha256_of", None)
    module._read_once.cache_clear()
    assert digests({"a": tmp_path / "a"}, before) == before
