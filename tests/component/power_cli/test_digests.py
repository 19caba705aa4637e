"""`./power digests`: that the override names what was pulled, and that compose takes it.

The engine is a stand-in: it answers as docker does, and its digests are made up.
"""

import os
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path

import pytest

from power_cli import digests
from power_cli.__main__ import main
from power_cli.up import ROOT
from tests.support.compose import any_program

DOCKER = """\
#!/bin/sh
for image; do :; done
case $1 in
    pull) [ "$image" != "${MISSING:-}" ] || { echo "no such image" >&2; exit 1; } ;;
    image) printf '["other@sha256:0", "%s%s@sha256:%s"]\\n' "${PREFIX:-}" "${image%:*}" \\
        "$(printf '%s' "$image" | sha256sum | cut -c 1-64)" ;;
    *) exit 1 ;;
esac
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout, and an engine on the PATH."""
    for name in ("docker-compose.yml", "Dockerfile"):
        shutil.copy(ROOT / name, tmp_path)
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.write_text(DOCKER, "utf-8")
    program.chmod(0o755)
    monkeypatch.setattr(digests, "ROOT", tmp_path)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return tmp_path


def _pinned(image: str) -> str:
    return f"{image}@sha256:{sha256(image.encode()).hexdigest()}"


@pytest.mark.parametrize("prefix", ["", "docker.io/"])
def test_compose_runs_every_image_by_its_digest(folder: Path, monkeypatch: pytest.MonkeyPatch, prefix: str) -> None:
    monkeypatch.setenv("PREFIX", prefix)
    assert main(["digests"]) == 0
    files = [option for name in ("docker-compose.yml", digests.FILE) for option in ("-f", name)]
    command = [*any_program(), *files, "config"]
    config = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
    compose = (folder / "docker-compose.yml").read_text("utf-8")
    found = digests.images(folder)
    assert len(found) == compose.count(" image: ")  # ours is one, and is made from the last of them
    for name, image in found:
        assert config.count(_pinned(image)) == (3 if name == digests.BASE else 1)


def test_digest_in_the_file_is_kept(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = f"prom/prometheus:v3.13.5@sha256:{'a' * 64}"
    file = folder / "docker-compose.yml"
    file.write_text(file.read_text("utf-8").replace("prom/prometheus:v3.13.5", image), "utf-8")
    assert main(["digests"]) == 0
    assert f'prometheus: {{image: "{image}"}}' in capsys.readouterr().out


def test_image_that_cannot_be_had_is_named_and_nothing_is_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MISSING", "influxdb:2.9.1")
    assert main(["digests"]) == 1
    assert capsys.readouterr().err == "docker pull --quiet influxdb:2.9.1: no such image\n"
    assert not (folder / digests.FILE).exists()


def test_image_without_a_digest_is_not_given_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PREFIX", "elsewhere/")
    assert main(["digests"]) == 1
    assert "has no digest: it was built on this machine or loaded from a file, not pulled" in capsys.readouterr().err
    assert not (folder / digests.FILE).exists()
