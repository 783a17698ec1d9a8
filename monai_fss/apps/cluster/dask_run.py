# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Hand out scans to the workers of a Dask cluster, and take what they found."""

from __future__ import annotations

import re
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

from monai_fss.apps.cluster.worker import Job, Outcome, segment_scan
from monai_fss.apps.errors import UsageError
from monai_fss.apps.threads import usable_processors
from monai_fss.data import InputWarning, ScanError, case_name
from monai_fss.data.scan_table import ScanTable

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ["check_address", "connected", "on_cluster", "segment_on"]

TRIES = 2
"""How often a scan is tried: the second time may be on another machine, with more memory or a disk that works."""
_PATHS = {"cache_dir", "image", "model", "output_dir", "prnet", "support_image", "support_label"}
LOOPBACK = "127.0.0.1"
_LOCAL = re.compile(r"local:([1-9]\d*)")
_ADDRESS = re.compile(r"(tcp|tls|ws|wss|ucx)://\S+")


def check_address(address: str) -> None:
    """Refuse what is no cluster, before anything is read.

    Raises:
        UsageError: the address is not understood, or Dask is not installed.
    """
    if not _LOCAL.fullmatch(address) and not _ADDRESS.fullmatch(address):
        raise UsageError(f"--dask {address}: is not understood. Give local:N, or an address such as tcp://HOST:8786.")
    try:
        import distributed  # noqa: F401
    except ImportError as error:
        raise UsageError(f"--dask {address}: needs Dask. Install it: pip install 'monai-fss[cluster]'.") from error


@contextmanager
def connected(address: str) -> Iterator[Client]:
    """A client of a cluster.

    ``local:N`` starts N processes on this machine, which nobody else can reach, without a dashboard, and ends them.

    Args:
        address: of the scheduler, or ``local:N``.

    Raises:
        UsageError: nobody answers there.
    """
    from distributed import Client

    local = _LOCAL.fullmatch(address)
    if local:
        with _local_cluster(int(local[1])) as cluster, Client(cluster) as client:
            yield client
        return
    try:
        client = Client(address, timeout="20s", set_as_default=False)
    except OSError as error:
        raise UsageError(f"--dask {address}: nobody answers ({error}). Is the scheduler running there?") from error
    with client:
        yield client


@contextmanager
def _local_cluster(workers: int) -> Iterator[Any]:
    """Processes of one task each on this machine; what Dask serves is bound to the loopback address alone."""
    import dask
    from distributed import Nanny, Scheduler, SpecCluster

    threads = max(1, usable_processors() // workers)
    settings = {
        "distributed.scheduler.allowed-failures": TRIES - 1,
        "distributed.nanny.pre-spawn-environ.OMP_NUM_THREADS": threads,
        "distributed.nanny.pre-spawn-environ.MKL_NUM_THREADS": threads,
    }
    here = {"host": LOOPBACK, "dashboard": False, "dashboard_address": f"{LOOPBACK}:0", "protocol": "tcp://"}
    worker = {"cls": Nanny, "options": {**here, "nthreads": 1, "memory_limit": 0, "silence_logs": 50}}
    with (
        dask.config.set(settings),
        SpecCluster(
            scheduler={"cls": Scheduler, "options": {**here, "port": 0}},
            workers=dict.fromkeys(range(workers), worker),
            silence_logs=50,
        ) as cluster,
    ):
        yield cluster


@contextmanager
def on_cluster(address: str, job: Job) -> Iterator[Callable[[ScanTable], Mapping[str, Exception]]]:
    """What segments the scans of a job on a cluster, see :func:`connected` and :func:`segment_on`.

    Args:
        address: of the scheduler, or ``local:N``.
        job: of the run, with its ``items``; paths become absolute, as workers have folders of their own.
    """
    items = {case_name(item["image"]): _absolute(item) for item in job.given["items"]}
    # Neither the scans of all, nor the table: a worker is given one and returns the other.
    common = {key: value for key, value in job.given.items() if key != "items" and not key.startswith("handlers::")}
    model = job.model and str(Path(job.model).absolute())
    work = replace(job, model=model, settings=_absolute(job.settings), given=_absolute(common))
    with connected(address) as client:
        yield lambda table: segment_on(client, work, items, table)


def _absolute(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings or an item with the paths in them made absolute."""
    found = dict(values)
    for key in _PATHS & found.keys():
        value = found[key]
        if isinstance(value, str) and value:
            found[key] = str(Path(value).absolute())
        elif isinstance(value, list):
            found[key] = [str(Path(one).absolute()) for one in value]
    return found


def segment_on(
    client: Client, job: Job, items: Mapping[str, Mapping[str, Any]], table: ScanTable
) -> dict[str, Exception]:
    """
    Segment scans on the workers of a cluster.

    The rows of each scan are written here when it is done, so that the table has one writer. A lost worker's scan is
    done again by another one; a scan that fails twice is named, and the others are done.

    Args:
        client: of the cluster.
        job: what all scans have in common.
        items: case name to item.
        table: that gets their rows.

    Returns:
        case name to error, of those that failed.
    """
    from distributed import as_completed

    waiting = iter(items)
    tries: dict[str, int] = {}
    cases: dict[str, str] = {}
    errors: dict[str, Exception] = {}
    run = uuid.uuid4().hex[:8]

    def submit(case: str) -> Future:
        tries[case] = tries.get(case, 0) + 1
        key = f"segment-{run}-{tries[case]}-{case}"
        cases[key] = case
        return client.submit(segment_scan, job, dict(items[case]), key=key, pure=False)

    def more(under_way: int) -> list[Future]:
        """As many as keep the workers busy; of a cluster that may grow by demand so many more that it sees some.

        Few at a time: what a lost worker had before it, though not begun, counts as tried too.
        """
        workers = len(client.nthreads())
        count = max(0, workers + (0 if client.cluster is not None else workers + 2) - under_way)
        return [submit(case) for _, case in zip(range(count), waiting, strict=False)]

    done = as_completed(more(0))
    with tqdm(total=len(items), desc="segmenting", unit="scan", disable=None) as bar:
        for future in done:
            case, outcome = cases.pop(future.key), _outcome(future)
            for doubt in outcome.doubts:
                warnings.warn(doubt, InputWarning, stacklevel=2)
            if outcome.error and tries[case] < TRIES:
                done.add(submit(case))
                continue
            if outcome.error:
                errors[case] = ScanError(outcome.error)
            else:
                table.append(case, outcome.rows)
            del tries[case]
            bar.update()
            for another in more(len(cases)):
                done.add(another)
    return errors


def _outcome(future: Future) -> Outcome:
    """What a task returned; a scan whose workers were lost each time is one that failed."""
    from distributed import KilledWorker

    error = future.exception()
    if error is None:
        outcome: Outcome = future.result()
        return outcome
    if isinstance(error, KilledWorker):
        return Outcome(error="its workers were lost each time (for want of memory?)")
    return Outcome(error=f"{type(error).__name__}: {error}")
