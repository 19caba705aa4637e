"""`./power sbom`: that it lists all that the service is installed from, and can be compared with an earlier one."""

import json
import re
from pathlib import Path

import pytest

from power_cli.__main__ import main
from power_cli.up import ROOT

PIN = r"(?m)^([a-z0-9.-]+)==(\S+).*\n((?: +--hash=sha256:[0-9a-f]{64}.*\n)+)"


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the command writes."""
    file = tmp_path_factory.mktemp("sbom") / "sbom.json"
    assert main(["sbom", "--output", str(file)]) == 0
    return file.read_text("utf-8")


def test_lists_every_pinned_package_with_its_version_and_hashes(document: str) -> None:
    content = json.loads(document)
    listed = {
        (each["name"], each["version"], each["purl"]): {
            entry["content"] for reference in each["externalReferences"] for entry in reference["hashes"]
        }
        for each in content["components"]
    }
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    pinned = {
        (name, version, f"pkg:pypi/{name}@{version}"): set(re.findall(r"sha256:(\w+)", hashes))
        for name, version, hashes in re.findall(PIN, lock)
    }
    assert len(pinned) == len(re.findall(r"(?m)^\S+==", lock))
    assert listed == pinned
    assert content["metadata"]["component"]["name"] == "spaceship-power-service"


def test_same_lock_file_gives_same_bytes(document: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["sbom"]) == 0
    assert capfd.readouterr() == (document, "")


def test_unwritable_file_is_named_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sbom", "--output", str(tmp_path / "missing" / "sbom.json")]) == 1
    assert capsys.readouterr().err == f"cannot write {tmp_path}/missing/sbom.json: No such file or directory\n"
