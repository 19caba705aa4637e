"""What the documents show, run against a new service as a reader would: the very lines, and the very answers."""

import re
import subprocess
import sys
from collections.abc import Iterator
from functools import partial

import pytest

from tests.support.documents import Sample, samples, section
from tests.support.servers import Service, started
from tests.support.waiting import until

DOCUMENTS = (
    ("README.md", "## Send readings", "## Ask for energy"),
    (
        "docs/http.md",
        "## POST /data",
        "## PUT /ships/{spaceship_id}/covariates",
        "## GET /data",
        "## GET /data/fleet",
        "## GET /topusers",
        "## Errors",
    ),
    ("docs/samples.md", "## curl", "## Python", "## pandas"),
)
PROGRAMS = {"sh": ["/bin/sh", "-euc"], "python": [sys.executable, "-c"]}
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@pytest.fixture(scope="module")
def new_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One that nobody has sent anything yet."""
    with started(Service(tmp_path_factory.mktemp("samples") / "data")) as service:
        yield service


def _run(sample: Sample, service: Service) -> str:
    code = sample.code.replace(":5000", f":{service.port}").replace("-p 1883", f"-p {service.mqtt_port}")
    done = subprocess.run([*PROGRAMS[sample.language], code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _shows(sample: Sample, service: Service) -> bool:
    """Tell whether it prints what its document says, but for random names and headers that the document leaves out."""
    said = UUID.sub("UUID", _run(sample, service)).replace("\r\n", "\n")
    return all(UUID.sub("UUID", line) in said for line in (sample.output or "").splitlines())


def test_the_documents_print_what_they_say(new_service: Service) -> None:
    """One after the other: what README.md sends, docs/http.md asks for."""
    for path, *headings in DOCUMENTS:
        found = [each for heading in headings for each in samples(section(path, heading)) if each.language in PROGRAMS]
        assert any(each.output for each in found)
        for each in found:
            until(partial(_shows, each, new_service), f"{path}: {each.code}")
