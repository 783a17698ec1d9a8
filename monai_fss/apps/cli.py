# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The command line: which command, what is printed, and the exit code."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from importlib import import_module
from typing import Any

import monai_fss
from monai_fss.apps.messages import close_bars, quiet, say
from monai_fss.apps.threads import set_threads

__all__ = ["COMMANDS", "main"]

DONE, FAILED, REFUSED = 0, 1, 2

# Command to module and help. A module is imported when its command is chosen, so that `--help` answers at once.
COMMANDS = {
    "check": ("monai_fss.apps.check", "check every scan and label of a data set, and list them"),
    "train": ("monai_fss.apps.train.command", "train a method on a data set; most methods need no labels for it"),
    "segment": ("monai_fss.apps.segment.command", "segment a folder of scans by one labelled scan"),
    "review": ("monai_fss.apps.review.command", "write a page to look through the masks of a folder, and read it back"),
    "correct": ("monai_fss.apps.correct.command", "take edited masks for labels, and do again the scans that may gain"),
    "merge": ("monai_fss.apps.parts.merge", "join the tables of a command that was run in parts (--num-parts)"),
    "explain": ("monai_fss.apps.explain", "show where in the labelled scan a method looks for a voxel"),
    "evaluate": ("monai_fss.apps.evaluate.command", "score methods on a labelled data set, fold by fold"),
    "compare": ("monai_fss.apps.compare_command", "test whether one evaluation is better than another"),
    "suggest": ("monai_fss.apps.suggest", "rank the scans of a data set: which to label first, which next"),
    "info": ("monai_fss.apps.info", "list versions, devices and the installed methods"),
    "verify": (
        "monai_fss.apps.verify.command",
        "check bundles offline, as the model zoo does, and name the line to mend",
    ),
    "release": ("monai_fss.apps.release.command", "write the bundle of a trained model, as the model zoo takes it"),
    "export": (
        "monai_fss.apps.export.command",
        "write a method that has been shown its labelled scan for other programs",
    ),
    "new-bundle": ("monai_fss.apps.new_bundle.command", "write the bundle of a new few-shot method"),
    "label-app": ("monai_fss.apps.label_app.command", "write the app for a MONAI Label server (3D Slicer, OHIF)"),
    "demo": ("monai_fss.apps.demo", "make synthetic scans, train, segment and score them"),
}
# Their output is what was asked for: --quiet leaves it.
ANSWERS = ("check", "compare", "suggest", "explain", "review", "info", "verify")


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run a command.

    A command's module has ``add_arguments(parser)`` and ``run(args)``, which returns the exit code and raises
    ``ScanError`` or ``UsageError`` for what it refuses. Problems and errors go to stderr, one per line.

    Args:
        argv: the words after ``monai-fss``. Default: those of this process.

    Returns:
        exit code: 0 done, 1 failed, 2 input refused.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    # MONAI reads it when it parses a configuration: a key that stands there twice is an error.
    os.environ["MONAI_FAIL_ON_DUPLICATE_CONFIG"] = "1"
    if "torch" not in sys.modules:  # which reads them when it is imported
        set_threads()
    try:
        with _messages(debug):
            args = _parser(words).parse_args(words)
            with quiet(args.command in ANSWERS) if "--quiet" in words else nullcontext():
                return int(args.run(args))
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else FAILED if stop.code else DONE
    except KeyboardInterrupt:
        close_bars()
        # below the ^C that a terminal shows
        say("\ninterrupted; run the same command again to go on (train: with --resume)")
        return FAILED
    except BrokenPipeError:  # such as `| head`; Python would complain once more when it closes stdout
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        return _report(error, debug)


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """The parser, with the arguments of the command that is named in ``words`` only."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show the traceback of an error, and every warning")
    common.add_argument(
        "--quiet", action="store_true", help="no progress bars and no remarks, only warnings and errors"
    )
    parser = argparse.ArgumentParser(
        "monai-fss",
        description="Few-shot segmentation of medical scans: one labelled scan in, a folder of masks out.",
        epilog="Exit code: 0 done, 1 failed, 2 input refused (nothing was written).",
        parents=[common],
    )
    parser.add_argument("--version", action="version", version=f"monai-fss {monai_fss.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    chosen = next((word for word in words if not word.startswith("-")), None)
    for name, (module, text) in COMMANDS.items():
        description = f"{text[0].upper()}{text[1:]}."
        command = commands.add_parser(name, help=text, description=description, parents=[common], allow_abbrev=False)
        if name == chosen:
            command_module = import_module(module)
            command_module.add_arguments(command)
            command.set_defaults(run=command_module.run)
    return parser


@contextmanager
def _messages(debug: bool) -> Iterator[None]:
    """Doubts about the input are one line each, once; the libraries' own warnings are shown with ``--debug`` alone."""
    from monai_fss.data.problems import InputWarning

    seen: set[str] = set()
    library = warnings.showwarning

    def show(message: Any, category: type[Warning], *where: Any, **more: Any) -> None:
        if not issubclass(category, InputWarning):
            library(message, category, *where, **more)
        elif str(message) not in seen:
            seen.add(str(message))
            say(f"warning: {message}")

    with warnings.catch_warnings():
        if not debug:
            warnings.simplefilter("ignore")
            _hush("ignite", logging.WARNING)
            _hush("ignite.engine", logging.CRITICAL)  # it logs the exceptions that it hands on, which we report
            for name in [name for name in logging.root.manager.loggerDict if name.startswith("ignite.engine.")]:
                _hush(name, logging.CRITICAL)  # of a class of engines, where something has set its level before
            _hush("monai.data.nvimgcodec_pydicom_plugin", logging.ERROR)  # of a decoder that is optional
            _hush("nibabel.global", logging.CRITICAL)  # what it mends silently in a header, we refuse in words
        warnings.simplefilter("always", InputWarning)
        warnings.showwarning = show
        yield


def _hush(logger: str, level: int) -> None:
    logging.getLogger(logger).setLevel(level)


def _report(error: Exception, debug: bool) -> int:
    """Print an error in one line, or the problems of refused input one per line; return the exit code."""
    from monai_fss.apps.errors import UsageError
    from monai_fss.data.problems import ScanError

    causes = list(_causes(error))
    refusal = next((cause for cause in causes if isinstance(cause, (ScanError, UsageError))), None)
    close_bars()
    if debug:
        traceback.print_exception(error)
    if refusal is not None:
        say("\n".join(refusal.problems))
        return REFUSED
    # MONAI wraps what went wrong within a configuration: what it wrapped says it.
    cause = next((cause for cause in causes if not isinstance(cause, RuntimeError)), causes[-1])
    lines = str(cause).strip().splitlines() or ["no further message"]
    more = "" if debug else " (--debug shows where)"
    say(f"monai-fss: error: {type(cause).__name__}: {lines[0]}{more}")
    return FAILED


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
