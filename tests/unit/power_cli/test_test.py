"""What `./power test` tells pytest."""

import pytest

from power_cli.test import pytest_arguments

PARALLEL = ["-n", "auto", "--dist", "worksteal"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], PARALLEL),
        (["unit", "component"], [*PARALLEL, "tests/unit", "tests/component"]),
        (
            ["-x", "system", "-k", "unit", "-m", "contract"],
            [*PARALLEL, "-x", "tests/system", "-k", "unit", "-m", "contract"],
        ),
        (["tests/unit", "-q"], ["tests/unit", "-q"]),
        (["tests/unit/test_documents.py::test_x"], ["tests/unit/test_documents.py::test_x"]),
        (["unit", "--pdb"], ["tests/unit", "--pdb"]),
    ],
)
def test_layers_are_folders_and_run_in_parallel(arguments: list[str], told: list[str]) -> None:
    assert pytest_arguments(arguments) == told
