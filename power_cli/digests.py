"""`./power digests`: pulls the images of docker-compose.yml and pins them by digest, in an override file."""

import json
import re
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

from power_cli.up import ROOT
from shared.domain.errors import InvalidSettings, Unavailable

FILE = "docker-compose.digests.yml"
BASE = "BASE"
"""The name of our base image here and in the Dockerfile."""
OURS = ("ingest_api", "normalizer_worker", "query_api")
DIGEST = r"sha256:[0-9a-f]{64}"
NEXT = f"""\
To use it with every `docker compose` command, add this line to .env:

  COMPOSE_FILE=docker-compose.yml:{FILE}
"""


def run(_arguments: Namespace) -> int:
    """Write the override file, and print how to use it."""
    file = ROOT / FILE
    text = override([(name, pinned(image)) for name, image in images(ROOT)])
    try:
        file.write_text(text, "utf-8")
    except OSError as error:
        raise InvalidSettings(f"cannot write {file}: {error.strerror}") from None
    sys.stdout.write(f"{text}\nwritten to {FILE}. {NEXT}")
    return 0


def images(root: Path, file: str = "docker-compose.yml") -> list[tuple[str, str]]:
    """Return the images that come from a registry, with their services' names, and our base image."""
    compose, dockerfile = ((root / name).read_text("utf-8") for name in (file, "Dockerfile"))
    shared = dict(re.findall(r"(?m)^x-(\w+): &\w+\n  <<: \*service\n  image: (\S+:\S+)$", compose))
    others = re.findall(r"(?m)^  (\w+):\n    <<: \*service\n    image: (\S+)$", compose)
    alike = re.findall(r"(?m)^  (\w+):\n    <<: \*(\w+)$", compose)
    others += [(name, shared[anchor]) for name, anchor in alike if anchor in shared and anchor != "ours"]
    return [*others, *re.findall(rf"(?m)^ARG ({BASE})=(\S+)$", dockerfile)]


def pinned(image: str) -> str:
    """Pull an image, and return its name with the digest that the registry gave it.

    Raises:
        Unavailable: there is no container engine, or the image cannot be pulled.

    """
    if re.search(rf"@{DIGEST}$", image):
        return image
    _docker("pull", "--quiet", image)
    repository = image.rpartition(":")[0]
    for known in json.loads(_docker("image", "inspect", "--format", "{{json .RepoDigests}}", image)):
        name, _, digest = known.partition("@")
        if name in {repository, f"docker.io/{repository}", f"docker.io/library/{repository}"}:
            return f"{image}@{digest}"
    raise Unavailable(f"{image} has no digest: it was built on this machine or loaded from a file, not pulled")


def override(digests: list[tuple[str, str]]) -> str:
    """Return the override file for docker-compose.yml."""
    lines = ["# Made by ./power digests: the images as they were pulled on this machine.", "services:"]
    for name, image in digests:
        if name == BASE:
            lines += [f'  {each}: {{build: {{args: {{{BASE}: "{image}"}}}}}}' for each in OURS]
        else:
            lines.append(f'  {name}: {{image: "{image}"}}')
    return "\n".join(lines) + "\n"


def _docker(*arguments: str) -> str:
    try:
        done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise Unavailable("there is no container engine: docker is not installed") from None
    if done.returncode:
        raise Unavailable(f"docker {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout
