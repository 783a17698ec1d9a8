# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""
A Dask cluster whose workers are Slurm jobs, and the command that uses it.

    python examples/cluster/dask_slurm.py --jobs 50 -- segment --images images --output masks --support-image ...

Jobs come and go with the scans that are left. Give the options of your site (queue, account) by --slurm.
"""

from __future__ import annotations

import argparse
import sys

from dask_jobqueue import SLURMCluster

from monai_fss.apps.cli import main as monai_fss


def main() -> int:
    """Start the cluster, run the command on it, and end the cluster."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10, help="most Slurm jobs at a time (default: 10)")
    parser.add_argument("--cores", type=int, default=2, help="cores of a job, for one scan (default: 2)")
    parser.add_argument("--memory", default="8GB", help="memory of a job (default: 8GB)")
    parser.add_argument("--walltime", default="04:00:00", help="a job's; its scan is done again (default: 4 hours)")
    parser.add_argument("--slurm", nargs="*", default=[], help="directives of the jobs, such as --account=NAME")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="-- and the words after monai-fss")
    options = parser.parse_args()
    cluster = SLURMCluster(
        cores=1,  # scans that a worker does at a time
        processes=1,
        job_cpu=options.cores,
        memory=options.memory,
        walltime=options.walltime,
        job_extra_directives=options.slurm,
        job_script_prologue=[f"export OMP_NUM_THREADS={options.cores}"],
        worker_extra_args=["--no-dashboard", "--dashboard-address", "127.0.0.1:0"],
        scheduler_options={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
    )
    with cluster:
        cluster.adapt(minimum_jobs=1, maximum_jobs=options.jobs)
        return monai_fss([*options.command[1:], "--dask", cluster.scheduler_address])


if __name__ == "__main__":
    sys.exit(main())
