# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""MONAI's evaluator for a folder of scans, of which one that cannot be done does not stop the others."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator, Mapping, Sized
from typing import Any, cast

import torch
from monai.engines import SupervisedEvaluator

from monai_fss.data import ScanError, case_name

__all__ = ["FailedScans", "ScanEvaluator", "reason_of"]

_ERROR = re.compile(r"[\w.]+(Error|Exception): ")
# What is wrong with the machine is not wrong with one scan: all others would fail too.
_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
_MEMORY = "not enough memory", "can't allocate memory"  # how torch says it for the processor, as a RuntimeError


class FailedScans(RuntimeError):
    """Scans that could not be done. The text is one line for each: ``<case>: <reason>``.

    Args:
        errors: case name to what went wrong.

    Attributes:
        errors: as given, with their tracebacks.
    """

    def __init__(self, errors: Mapping[str, Exception]) -> None:
        self.errors = dict(errors)
        super().__init__("\n".join(f"{case}: {reason_of(error)}" for case, error in self.errors.items()))


def reason_of(error: Exception) -> str:
    """An error in one line: its root, as MONAI wraps what went wrong within a transform."""
    root: BaseException = error
    while root.__cause__ is not None:
        root = root.__cause__
    text = str(root).strip().splitlines()
    first = text[0] if text else "no further message"
    if "in DataLoader worker process" in first:  # with the traceback as text, in which causes come first
        return next((line.rpartition(".problems.")[2] for line in text[1:] if _ERROR.match(line)), first)
    return first if isinstance(root, ScanError) else f"{type(root).__name__}: {first}"


class ScanEvaluator(SupervisedEvaluator):
    """MONAI's ``SupervisedEvaluator`` that goes on with the next scan where one raises an exception.

    That may be in reading, the network, a registration, the post-processing or a handler of ``MODEL_COMPLETED``. What
    is no fault of one scan ends the run as ever: no memory, no room on the disk, an interruption. The data loader
    must give one scan at a time.

    Args:
        val_data_loader: of a dataset whose ``data`` are items with ``image``, a path that names the case.
        more: arguments of ``SupervisedEvaluator``.

    Attributes:
        failed: case name to its exception, after a run.
    """

    def __init__(self, device: Any, val_data_loader: Any, *args: Any, **more: Any) -> None:
        self.failed: dict[str, Exception] = {}
        super().__init__(device, _Going(val_data_loader), *args, **more)

    def run(self, global_epoch: int = 1) -> None:  # type: ignore[override]  # as MONAI's Evaluator
        """Do all scans.

        Raises:
            FailedScans: at the end, where some could not be done.
        """
        self.failed = {}
        super().run(global_epoch)
        if self.failed:
            raise FailedScans(self.failed)

    def _iteration(self, engine: Any, batchdata: Any) -> Any:
        try:
            if isinstance(batchdata, Exception):
                raise batchdata
            return super()._iteration(engine, batchdata)
        except Exception as error:
            if _of_the_machine(error):
                raise
            self.failed[self._case()] = error
            engine.state.output = []  # handlers of what comes out find nothing
            return []

    def _case(self) -> str:
        items = cast(Any, self.data_loader).loader.dataset.data
        return case_name(items[(self.state.iteration - 1) % len(items)]["image"])


def _of_the_machine(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
            return True
        if isinstance(error, OSError) and error.errno in _MACHINE:
            return True
        if isinstance(error, RuntimeError) and any(text in str(error) for text in _MEMORY):
            return True
        error = error.__cause__
    return False


class _Going:
    """A data loader that gives an exception in place of a batch, and goes on with the next one.

    Args:
        loader: PyTorch's or MONAI's.
    """

    def __init__(self, loader: Any) -> None:
        self.loader = loader

    def __len__(self) -> int:
        return len(cast(Sized, self.loader))

    def __iter__(self) -> Iterator[Any]:
        batches = iter(self.loader)
        while True:
            try:
                batch = next(batches)
            except StopIteration:
                return
            except Exception as error:
                yield error
            else:
                yield batch
