"""A single machine imports nothing that only a cluster needs."""

import subprocess
import sys

import pytest

from power_cli.up import ROOT

MODULES = ["normalizer_worker.__main__", "ingest_api.__main__", "query_api.__main__", "power_cli.http", "power_cli.up"]


@pytest.mark.parametrize("module", MODULES)
def test_single_machine_imports_no_package_of_a_cluster(module: str) -> None:
    script = f"import sys, {module}; print(*sorted({{'pika', 'psycopg'}} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-P", "-c", script], env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "\n"
