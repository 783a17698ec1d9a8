# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The command line of the scripts in the bundles: what they share, so that a script only names the paper's choice."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from monai_fss.data.problems import InputWarning, ScanError

__all__ = ["run_script"]

_DONE, _REFUSED = 0, 2  # as of monai-fss


def run_script(
    description: str,
    prepare: Callable[..., Path],
    add_options: Callable[[argparse.ArgumentParser], Any] | None = None,
    argv: Sequence[str] | None = None,
    **choice: Any,
) -> int:
    """
    Convert a download by the words of a command line: ``--source DIR --output DIR``.

    Args:
        description: the script's docstring, shown by ``--help`` as it stands.
        prepare: one of the functions of this folder, such as :func:`monai_fss.data.prepare_chaos`.
        add_options: adds the script's own options, each named as an argument of ``prepare``.
        argv: the words. Default: those of this process.
        choice: the other arguments of ``prepare``: what the paper has chosen.

    Returns:
        exit code: 0 done, 2 input refused (nothing has been written then; the problems go to stderr, one per line).
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", required=True, metavar="DIR", help="folder of the download, unpacked")
    parser.add_argument("--output", required=True, metavar="DIR", help="data set folder to make: new, or empty")
    if add_options is not None:
        add_options(parser)
    given = vars(parser.parse_args(argv))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", InputWarning)
        warnings.showwarning = lambda message, *_, **__: print(f"warning: {message}", file=sys.stderr)
        try:
            folder = prepare(**given, **choice)
        except ScanError as error:
            print(error, file=sys.stderr)
            return _REFUSED
    print(f"{folder}: ready. `monai-fss check {folder}` lists what is in it.")
    return _DONE
