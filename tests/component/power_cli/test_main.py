"""How a command ends: by itself, by Ctrl-C, or because nobody reads on; never with a traceback."""

import os
import subprocess
import sys
from typing import NoReturn

import pytest

from power_cli import openapi
from power_cli.__main__ import main
from power_cli.up import ROOT


def test_help_keeps_the_names_of_things_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["openapi", "--help"])
    assert "\nPrint the OpenAPI document of the HTTP API.\n" in capsys.readouterr().out


def test_a_command_that_is_interrupted_says_so_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(_: object) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(openapi, "run", run)
    assert main(["openapi"]) == 130
    assert capsys.readouterr().err == "\ninterrupted\n"


def test_what_is_heavy_is_loaded_where_an_interrupt_is_waited_for() -> None:
    code = "import sys, power_cli.__main__; print({'numpy', 'paho', 'pydantic'} & set(sys.modules))"
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-P", "-c", code]
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout == "set()\n"


@pytest.mark.parametrize("command", ["openapi", "a few bytes"])
def test_a_reader_that_has_seen_enough_ends_it_quietly(command: str) -> None:
    """As `head` does. What is long fails when it is written, what is short when it is flushed."""
    code = (
        "import sys; from power_cli import openapi; from power_cli.__main__ import main; "
        f"openapi.text = openapi.text if {command == 'openapi'} else lambda: 'x'; sys.exit(main(['openapi']))"
    )
    reader, writer = os.pipe()
    os.close(reader)
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": ""}
    arguments = [sys.executable, "-P", "-c", code]
    ended = subprocess.run(arguments, env=environ, stdout=writer, stderr=subprocess.PIPE, timeout=60, check=False)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (141, b"")


def test_another_pipe_that_breaks_is_not_passed_over(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def run(_: object) -> NoReturn:
        raise BrokenPipeError

    monkeypatch.setattr(openapi, "run", run)
    with pytest.raises(BrokenPipeError):
        main(["openapi"])
    assert capfd.readouterr().out == ""
