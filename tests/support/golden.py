"""The worked cases of the rule."""

import json
from pathlib import Path
from typing import Any

CASES: list[dict[str, Any]] = json.loads(Path(__file__).with_name("golden_cases.json").read_text("utf-8"))["cases"]
NAMES = [case["name"] for case in CASES]
