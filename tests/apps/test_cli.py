# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The command line: exit codes, messages, and nothing imported that a command does not need."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from monai_fss.apps import cli
from monai_fss.apps.cli import main
from monai_fss.apps.errors import UsageError
from monai_fss.data import InputWarning, ScanError


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give a function the place of `monai-fss try`."""

    def install(run: Any) -> None:
        module = ModuleType("monai_fss_try")
        module.__dict__.update(add_arguments=lambda parser: parser.add_argument("--size", type=int), run=run)
        monkeypatch.setitem(sys.modules, "monai_fss_try", module)
        monkeypatch.setitem(cli.COMMANDS, "try", ("monai_fss_try", "try something"))

    return install


def test_help_comes_at_once_without_torch_and_lists_the_commands() -> None:
    code = (
        "import sys, monai_fss.__main__ as m; e = m.main(['--help']); print(e, {'torch', 'monai'} & set(sys.modules))"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # The bound is one second on a free machine; a loaded one gets more.
    assert time.perf_counter() - start < 5
    assert all(f"\n    {name}" in done.stdout for name in cli.COMMANDS)
    assert done.stdout.endswith("0 set()\n")


@pytest.mark.slow
def test_python_m_has_the_exit_codes() -> None:
    called = [sys.executable, "-m", "monai_fss"]
    assert subprocess.run([*called, "--version"], capture_output=True).returncode == 0
    refused = subprocess.run([*called, "check", "no/such/folder"], capture_output=True, text=True)
    assert refused.returncode == 2
    assert refused.stdout == ""
    assert refused.stderr.startswith("no/such/folder: has no folder images/.")
    assert refused.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["fly"], "invalid choice: 'fly'"),
        (["check"], "the following arguments are required: DATASET_DIR"),
        (["train", "--data", "d"], "the following arguments are required: --output"),
        (["check", "d", "--sped"], "unrecognized arguments: --sped"),
        (["train", "--data", "d", "--output", "o", "--res"], "unrecognized arguments: --res"),
    ],
)
def test_wrong_words_are_refused(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert says in capsys.readouterr().err


def test_arguments_and_exit_code_of_a_command(command: Any) -> None:
    seen: list[argparse.Namespace] = []

    def run(args: argparse.Namespace) -> int:
        seen.append(args)
        return 1

    command(run)
    assert main(["try", "--size", "3"]) == 1
    assert seen[0].size == 3


@pytest.mark.parametrize("kind", [ScanError, UsageError])
@pytest.mark.parametrize("wrapped", [False, True])
def test_every_problem_of_refused_input_is_one_line(
    kind: type[ScanError | UsageError], wrapped: bool, command: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(args: argparse.Namespace) -> int:
        try:
            raise kind(["a.nii.gz: bad. Mend it.", "b.nii.gz: worse. Drop it."])
        except ValueError as error:
            if not wrapped:
                raise
            raise RuntimeError("Failed to evaluate ConfigExpression") from error  # as MONAI does

    command(run)
    assert main(["try"]) == 2
    assert capsys.readouterr().err == "a.nii.gz: bad. Mend it.\nb.nii.gz: worse. Drop it.\n"


def _fail(args: argparse.Namespace) -> int:
    try:
        raise KeyError("gone\nsecond line")
    except KeyError as error:
        raise RuntimeError("wrapped") from error


def test_a_failure_is_one_line_and_debug_shows_where(command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    command(_fail)
    assert main(["try"]) == 1
    assert capsys.readouterr().err == "monai-fss: error: KeyError: 'gone\\nsecond line' (--debug shows where)\n"
    for words in (["try", "--debug"], ["--debug", "try"]):
        assert main(words) == 1
        text = capsys.readouterr().err
        assert text.startswith("Traceback") and "in _fail" in text
        assert text.endswith("monai-fss: error: KeyError: 'gone\\nsecond line'\n")


def test_a_failure_that_says_what_to_do_goes_before_its_own_cause(
    command: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(args: argparse.Namespace) -> int:
        try:
            raise ConnectionError("w.pth: could not be downloaded. Save it as x.") from OSError("no route to host")
        except OSError as error:
            raise RuntimeError("Failed to instantiate component") from error  # as MONAI does

    command(run)
    assert main(["try"]) == 1
    said = "monai-fss: error: ConnectionError: w.pth: could not be downloaded. Save it as x. (--debug shows where)\n"
    assert capsys.readouterr().err == said


def test_a_missing_command_module_hurts_that_command_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(cli.COMMANDS, "try", ("monai_fss.apps.not_there", "try something"))
    assert main(["--help"]) == 0
    assert main(["try"]) == 1
    assert "ModuleNotFoundError: No module named 'monai_fss.apps.not_there'" in capsys.readouterr().err


def test_an_interruption_says_how_to_go_on(command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    def run(args: argparse.Namespace) -> int:
        raise KeyboardInterrupt

    command(run)
    assert main(["try"]) == 1
    assert capsys.readouterr().err == "\ninterrupted; run the same command again to go on (train: with --resume)\n"


def test_doubts_are_printed_once_and_the_libraries_are_silent(command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    def run(args: argparse.Namespace) -> int:
        for _ in range(2):
            warnings.warn("a.nii.gz: spacing is 50 mm. Is it?", InputWarning, stacklevel=1)
            warnings.warn("use the new thing", FutureWarning, stacklevel=1)
        return 0

    command(run)
    before = warnings.showwarning
    assert main(["try"]) == 0
    assert capsys.readouterr().err == "warning: a.nii.gz: spacing is 50 mm. Is it?\n"
    assert warnings.showwarning is before


def test_a_key_that_stands_twice_in_a_configuration_is_an_error(tmp_path: Any, command: Any) -> None:
    from monai_fss.apps.methods.bundles import config_keys

    (tmp_path / "train.yaml").write_text("steps: 1\nseed: 0\nsteps: 2\n")
    command(lambda args: 0)
    main(["try"])
    with pytest.raises(ValueError, match="steps"):
        config_keys([tmp_path / "train.yaml"])


@pytest.mark.slow
def test_a_reader_that_stops_reading_is_no_error(phantom_set: Path) -> None:
    command = [sys.executable, "-m", "monai_fss", "check", str(phantom_set)]
    called = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert called.stdout is not None and called.stderr is not None
    called.stdout.close()
    assert called.stderr.read() == b""
    assert called.wait() == 1
    called.stderr.close()


def test_quiet_leaves_warnings_errors_and_answers(command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    from tqdm.auto import tqdm

    def run(args: argparse.Namespace) -> int:
        print("a remark")
        for _ in tqdm(range(2), "at work", disable=False):
            warnings.warn("a.nii: looks odd. Look at it.", InputWarning, stacklevel=1)
        raise ScanError("b.nii: is damaged. Export it again.")

    command(run)
    assert main(["try", "--quiet"]) == 2
    said = capsys.readouterr()
    assert (
        said.out == "" and said.err == "warning: a.nii: looks odd. Look at it.\nb.nii: is damaged. Export it again.\n"
    )
    assert main(["try"]) == 2
    said = capsys.readouterr()
    assert said.out == "a remark\n" and "at work" in said.err
    assert main(["info", "--quiet"]) == 0 and "monai_fss" in capsys.readouterr().out


def test_messages_stand_on_lines_of_their_own_beside_a_bar(command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    from tqdm.auto import tqdm

    def run(args: argparse.Namespace) -> int:
        bar = tqdm(total=3, desc="at work", mininterval=0)
        bar.update()
        warnings.warn("a.nii: looks odd. Look at it.", InputWarning, stacklevel=1)
        bar.update()
        raise UsageError("--size: is too large. Give less.")

    command(run)
    assert main(["try"]) == 2
    lines = re.split("[\r\n]+", capsys.readouterr().err)
    assert {"warning: a.nii: looks odd. Look at it.", "--size: is too large. Give less."} <= set(lines)
