"""The tests' own rules: helpers stand in `tests/support/`, and a test file imports none of another."""

import re

from power_cli.up import ROOT

TESTS = ROOT / "tests"
_IMPORT = re.compile(r"(?m)^\s*from (tests\.(?!support\b)[\w.]+) import")


def test_helpers_are_imported_from_support_only() -> None:
    found = {str(path.relative_to(TESTS)): _IMPORT.findall(path.read_text("utf-8")) for path in TESTS.rglob("*.py")}
    assert {path: names for path, names in found.items() if names} == {}


def test_every_test_file_is_in_a_layer() -> None:
    layers = {path.relative_to(TESTS).parts[0] for path in TESTS.rglob("test_*.py")}
    assert layers == {"unit", "component", "contract", "system"}
