"""A real Prometheus with the project's configuration, started for the tests."""

import math
import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import urllib3

from power_cli.up import ROOT
from tests.support.programs import need
from tests.support.servers import HOST, free_port
from tests.support.waiting import until

CONFIGURATION = ROOT / "prometheus"
SCRAPES_S = 0.2


def prometheus_program(name: str = "prometheus") -> str:
    """Give the path of Prometheus or of its tool; without it, skip on a laptop and fail in CI."""
    return need("prometheus", name)


class Prometheus:
    """A real Prometheus, configured as prometheus/ says, but for where the services are, and how often it looks."""

    def __init__(self, folder: Path, targets: Sequence[str], token: str) -> None:
        """Prepare one that keeps everything in a folder, and shows a token to the services."""
        self.port = free_port()
        self.log = folder / "prometheus.log"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._http = urllib3.PoolManager(retries=False)
        (folder / "token").write_text(token, "utf-8")
        text = (CONFIGURATION / "prometheus.yml").read_text("utf-8")
        text = re.sub(r"(?m)_interval: .+$", f"_interval: {SCRAPES_S * 1000:.0f}ms", text)
        text = re.sub(r"credentials_file: .+", f"credentials_file: {folder / 'token'}", text)
        text, lists = re.subn(r"targets:\n(\s+- \S+\n)+", f"targets: {list(targets)}\n", text)
        assert lists == 1, text
        (folder / "prometheus.yml").write_text(text, "utf-8")
        shutil.copy(CONFIGURATION / "alerts.yml", folder)

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [
            prometheus_program(),
            f"--config.file={self._folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self._folder / 'data'}",
            f"--web.listen-address={HOST}:{self.port}",
            "--log.level=warn",
        ]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        until(self._answers, f"Prometheus is ready; see {self.log}")

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text("utf-8")
        try:
            return self._http.request("GET", f"http://{HOST}:{self.port}/-/ready", timeout=0.5).status == 200
        except urllib3.exceptions.HTTPError:
            return False

    def stop(self) -> None:
        """Stop it, if it runs."""
        self._http.clear()
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
            self._process = None

    def values(self, promql: str) -> list[float]:
        """Give what a query says now, series by series, without those that are no number."""
        return _numbers(each["value"] for each in self.get("query", query=promql)["result"])

    def values_of_range(self, promql: str, range_s: float) -> list[float]:
        """Give what a query says over the last seconds, one after the other, without those that are no number."""
        now_s = time.time()
        answer = self.get("query_range", query=promql, start=now_s - range_s, end=now_s, step=SCRAPES_S)
        return _numbers(value for each in answer["result"] for value in each["values"])

    def get(self, what: str, **fields: Any) -> Any:
        """Ask its API; the answer must be a good one."""
        response = self._http.request("GET", f"http://{HOST}:{self.port}/api/v1/{what}", fields=fields)
        assert response.status == 200, response.data
        return response.json()["data"]


def _numbers(samples: Any) -> list[float]:
    return [value for value in (float(text) for _, text in samples) if not math.isnan(value)]
