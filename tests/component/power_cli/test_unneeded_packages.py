"""A service on the embedded store imports no package that only other stores, a cluster or some answers need."""

import subprocess
import sys

import pytest

from power_cli.up import ROOT

UNNEEDED = {"pika", "psycopg", "influxdb_client", "pyarrow", "pandas", "sklearn"}
MODULES = ["normalizer_worker.__main__", "ingest_api.__main__", "query_api.__main__", "power_cli.http", "power_cli.up"]


@pytest.mark.parametrize("module", MODULES)
def test_it_imports_no_unneeded_package(module: str) -> None:
    script = f"import sys, {module}; print(*sorted({UNNEEDED} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-P", "-c", script], env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "\n"
