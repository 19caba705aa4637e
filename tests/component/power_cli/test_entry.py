"""`power`, the shell entry: what it installs, and what it refuses to."""

import io
import os
import shutil
import subprocess
import tarfile
from hashlib import sha256
from pathlib import Path

from power_cli.up import ROOT


def _source_package(file: Path, backend: str) -> str:
    """Make a package without a wheel, whose build runs `backend`; return its hash."""
    build = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    info = "Metadata-Version: 2.1\nName: sourced\nVersion: 1\n"
    with tarfile.open(file, "w:gz") as archive:
        for name, text in (("pyproject.toml", build), ("PKG-INFO", info), ("backend.py", backend)):
            entry = tarfile.TarInfo(f"sourced-1/{name}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return sha256(file.read_bytes()).hexdigest()


def test_package_without_a_wheel_is_neither_built_nor_installed(tmp_path: Path) -> None:
    """Its build would run its code on this machine."""
    shutil.copy(ROOT / "power", tmp_path / "power")
    ran = tmp_path / "ran"
    digest = _source_package(tmp_path / "sourced-1.tar.gz", f"open({str(ran)!r}, 'w').close()\n")
    (tmp_path / "requirements.lock").write_text(f"sourced==1 --hash=sha256:{digest}\n", "utf-8")
    environ = {
        "PATH": os.environ["PATH"],
        "POWER_VENV": str(tmp_path / "venv"),
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(tmp_path),
    }
    done = subprocess.run([tmp_path / "power", "init"], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "there is no wheel for this Python and platform" in done.stderr
    assert not ran.exists()
