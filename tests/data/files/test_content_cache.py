# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Results kept under the hash of what they were made from."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import pytest
import torch
from monai.data import MetaTensor

from monai_fss.data import ContentCache, InputWarning, content_cache
from monai_fss.data.files.cache import IN_USE, make_room


class Sum:
    """Counts how often it is called."""

    def __init__(self, *tensors: torch.Tensor) -> None:
        self.tensors, self.calls = tensors, 0

    def __call__(self) -> dict[str, torch.Tensor]:
        self.calls += 1
        return {"sum": sum(self.tensors, torch.zeros(1)), "half": torch.full((2,), 0.5, dtype=torch.float16)}


def test_the_second_time_it_is_loaded(tmp_path: Path) -> None:
    one, other = torch.arange(4.0), torch.ones(4)
    function = Sum(one, other)
    first = ContentCache(tmp_path / "new")("sum", function, [one, other], {"a": 1})
    second = ContentCache(tmp_path / "new")("sum", function, [one.clone(), other], {"a": 1})
    assert function.calls == 1 and first["sum"].tolist() == second["sum"].tolist() == [1, 2, 3, 4]
    assert second["half"].dtype == torch.float16
    assert [f.name[:4] for f in (tmp_path / "new").iterdir()] == ["sum-"]


def test_everything_that_decides_the_result_is_in_the_name(tmp_path: Path) -> None:
    cache, x = ContentCache(tmp_path), torch.arange(6.0)
    paths = [
        cache.path("a", [x], {"s": 1}),
        cache.path("b", [x], {"s": 1}),
        cache.path("a", [x], {"s": 2}),
        cache.path("a", [x]),
        cache.path("a", [x, x], {"s": 1}),
        cache.path("a", [x.reshape(2, 3)], {"s": 1}),
        cache.path("a", [x.double()], {"s": 1}),
        cache.path("a", [x + 1e-6], {"s": 1}),
        cache.path("a", [MetaTensor(x.reshape(1, 6, 1, 1), affine=torch.eye(4))], {"s": 1}),
        cache.path("a", [MetaTensor(x.reshape(1, 6, 1, 1), affine=2 * torch.eye(4))], {"s": 1}),
        ContentCache(tmp_path, version=2).path("a", [x], {"s": 1}),
    ]
    assert len(set(paths)) == len(paths)
    assert cache.path("a", [x], {"s": 1, "t": 2}) == cache.path("a", [x], {"t": 2, "s": 1})
    transposed = x.reshape(2, 3).T
    assert cache.path("a", [transposed]) == cache.path("a", [transposed.contiguous()])


@pytest.mark.parametrize("damage", ["truncate", "flip", "other", "empty"])
def test_a_damaged_file_is_computed_anew_with_a_warning(tmp_path: Path, damage: str) -> None:
    x = torch.arange(1000.0)
    cache, function = ContentCache(tmp_path), Sum(x)
    expected = cache("sum", function, [x])
    path = cache.path("sum", [x])
    content = bytearray(path.read_bytes())
    if damage == "flip":
        place = content.find(torch.tensor([500.0, 501.0]).numpy().tobytes())
        content[place] ^= 1
    {
        "truncate": lambda: path.write_bytes(content[: len(content) // 2]),
        "flip": lambda: path.write_bytes(content),
        "other": lambda: torch.save([1, 2], path),
        "empty": lambda: path.write_bytes(b""),
    }[damage]()
    with pytest.warns(InputWarning, match=r"sum-.*\.pt: .*Computing it anew"):
        got = cache("sum", function, [x])
    assert function.calls == 2 and torch.equal(got["sum"], expected["sum"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache("sum", function, [x])
    assert function.calls == 2


def test_nothing_is_left_of_a_computation_that_fails(tmp_path: Path) -> None:
    def fail() -> dict[str, torch.Tensor]:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        ContentCache(tmp_path)("a", fail, [])
    with pytest.raises(TypeError, match="a: 'x' is a MetaTensor. Return plain tensors"):
        ContentCache(tmp_path)("a", lambda: {"x": MetaTensor(torch.zeros(1))}, [])
    with pytest.raises(TypeError, match="not JSON serializable"):
        ContentCache(tmp_path)("a", fail, [], {"x": object()})
    assert list(tmp_path.iterdir()) == []


def used(cache: ContentCache, number: int, ago: float) -> Path:
    """A result of 40 kB, last used so many seconds ago."""
    x = torch.full((10_000,), float(number))
    cache("x", lambda: {"x": x}, [x])
    path = cache.path("x", [x])
    os.utime(path, (path.stat().st_mtime - ago,) * 2)
    return path


def test_those_used_longest_ago_go_and_those_in_use_stay(tmp_path: Path) -> None:
    cache = ContentCache(tmp_path)
    old, older, oldest, new = (used(cache, n, ago) for n, ago in enumerate((2e3, 3e3, 4e3, IN_USE / 2)))
    function = Sum(torch.full((10_000,), 2.0))
    cache("x", function, function.tensors)  # the oldest is asked for: by another process, for all that this one knows
    assert function.calls == 0
    limited = ContentCache(tmp_path, room=170e3)
    now = used(limited, 9, 0)
    assert {*tmp_path.iterdir()} == {old, oldest, new, now}, "one too many: the one used longest ago"
    assert make_room(tmp_path, 0) == [old], "another process may be at the others, whatever they take"
    assert {*make_room(tmp_path, 50e3, in_use=0)} == {oldest, new} and make_room(tmp_path / "none", 0) == []


def test_a_file_that_another_process_has_removed_is_made_anew_without_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, x = ContentCache(tmp_path, room=1e9), torch.ones(3)
    cache("x", lambda: {"x": x}, [x])
    load = torch.load

    def removed(path: Path, **more: object) -> object:
        path.unlink()  # between the look and the reading
        return load(path, **more)

    monkeypatch.setattr(torch, "load", removed)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cache("x", lambda: {"x": x + 1}, [x])["x"].tolist() == [2, 2, 2]


def test_a_cache_that_is_switched_off(tmp_path: Path) -> None:
    assert content_cache(tmp_path, 0) is content_cache(None, 20) is content_cache("", None) is None
    limited, free = content_cache(tmp_path, 20), content_cache(tmp_path)
    assert limited is not None and limited.room == 20e9 and free is not None and free.room is None
