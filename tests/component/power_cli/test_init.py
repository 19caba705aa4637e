"""`./power init`: what it makes, for whom, and that it never makes anything twice."""

import re
from pathlib import Path

import pytest

from power_cli.__main__ import main
from power_cli.init import API_TOKENS, SECRETS, make
from power_cli.init_cluster import SECRETS as CLUSTER_SECRETS
from power_cli.up import ROOT
from shared.domain.errors import InvalidSettings
from shared.http.token_file import read
from shared.http.tokens import Access, access


def _contents(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text("utf-8") for path in root.rglob("*") if path.is_file()}


def _files_in(text: str, pattern: str) -> set[str]:
    return set(re.findall(pattern, text))


def test_it_makes_each_secret_that_compose_mounts(tmp_path: Path) -> None:
    made = {path.name for path in make(tmp_path)}
    mounted = _files_in((ROOT / "docker-compose.yml").read_text("utf-8"), r"file: \./secrets/([\w.]+)")
    assert mounted
    assert mounted <= made
    assert {".env", "tokens.jsonl", *SECRETS, *API_TOKENS} <= made


def test_what_compose_reads_stands_in_env_with_the_same_defaults(tmp_path: Path) -> None:
    make(tmp_path)
    lines = (tmp_path / ".env").read_text("utf-8").splitlines()
    settings = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert settings.pop("COMPOSE_PROJECT_NAME") == "power"
    compose = (ROOT / "docker-compose.yml").read_text("utf-8")
    assert settings == dict(_files_in(compose, r"(?<!\$)\$\{(\w+):-([^}]*)\}"))  # type: ignore[arg-type]


def test_no_two_secrets_are_alike_and_none_is_the_same_again(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
        make(folder)
    secrets = [
        content.strip().rpartition(":")[2]
        for folder in folders
        for name, content in _contents(folder).items()
        if name.startswith("secrets/") and not name.endswith((".json", ".jsonl", "_options"))
    ]
    assert all(re.fullmatch(r"[\w-]{43,64}", each) for each in secrets)
    assert len(secrets) == len(set(secrets))


def test_the_folder_is_for_its_owner_and_its_files_for_any_container(tmp_path: Path) -> None:
    """docker-compose.yml says why."""
    (tmp_path / "secrets").mkdir(mode=0o755)
    make(tmp_path)
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    for path in (tmp_path / "secrets").rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644), path


def test_the_first_tokens_open_the_service(tmp_path: Path) -> None:
    make(tmp_path)
    tokens = read(tmp_path / "secrets" / "api" / "tokens.jsonl")
    for file, name, role in (("api_admin_token", "admin", "admin"), ("prometheus_token", "prometheus", "read")):
        secret = (tmp_path / "secrets" / file).read_text("utf-8").strip()
        assert access(tokens, f"Bearer {secret}") == Access(role, name=name)  # type: ignore[arg-type]


def test_a_second_time_it_changes_nothing(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / ".env").write_text("COMPOSE_PROJECT_NAME=mine\n", "utf-8")
    before = _contents(tmp_path)
    assert make(tmp_path) == []
    assert _contents(tmp_path) == before


def test_it_makes_again_what_is_missing_and_only_that(tmp_path: Path) -> None:
    make(tmp_path)
    before = _contents(tmp_path)
    (tmp_path / "secrets" / "grafana_secret_key").unlink()
    assert make(tmp_path) == [tmp_path / "secrets" / "grafana_secret_key"]
    after = _contents(tmp_path)
    assert after.pop("secrets/grafana_secret_key") != before.pop("secrets/grafana_secret_key")
    assert after == before


def test_a_token_that_was_taken_away_does_not_come_back(tmp_path: Path) -> None:
    make(tmp_path)
    file = tmp_path / "secrets" / "api" / "tokens.jsonl"
    assert main(["token", "remove", "admin", "--file", str(file)]) == 0
    (tmp_path / "secrets" / "api_admin_token").unlink()
    assert make(tmp_path) == []
    assert [each.name for each in read(file)] == ["prometheus"]
    assert file.stat().st_mode & 0o777 == 0o644  # the services, under users of their own, still have to read it


def test_a_run_that_was_cut_off_is_finished_by_the_next(tmp_path: Path) -> None:
    """The hashes are written last: made anew from secrets that are there, they fit them."""
    make(tmp_path)
    before = _contents(tmp_path)
    (tmp_path / "secrets" / "api" / "tokens.jsonl").unlink()
    assert [path.name for path in make(tmp_path)] == ["tokens.jsonl"]
    secret = before["secrets/api_admin_token"].strip()
    assert access(read(tmp_path / "secrets" / "api" / "tokens.jsonl"), f"Bearer {secret}") == Access(
        "admin", name="admin"
    )


def test_a_folder_that_compose_made_in_the_place_of_a_secret_is_named(tmp_path: Path) -> None:
    (tmp_path / "secrets" / "influxdb_admin_token").mkdir(parents=True)
    with pytest.raises(InvalidSettings, match=r"influxdb_admin_token is a folder .* remove it"):
        make(tmp_path)


def test_where_it_may_not_write_it_says_so_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "secrets").write_text("in the way", "utf-8")
    with pytest.raises(InvalidSettings, match=r"^cannot write .*secrets: "):
        make(tmp_path)


def test_the_command_tells_what_it_made_and_what_to_do_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("power_cli.init.ROOT", tmp_path)
    assert main(["init"]) == 0
    said = capsys.readouterr().out
    assert "created  .env\n" in said
    assert "docker compose up" in said
    secrets = {line.strip() for line in _contents(tmp_path)["secrets/api_admin_token"].splitlines()}
    assert not any(secret in said for secret in secrets)
    assert main(["init"]) == 0
    assert "nothing was changed" in capsys.readouterr().out


# With --cluster.


def test_the_workers_have_the_password_that_declare_gives_their_user(tmp_path: Path) -> None:
    make(tmp_path, cluster=True)
    password, url = (
        (tmp_path / "secrets" / name).read_text("utf-8").strip() for name in ("mqtt_worker_password", "amqp_worker_url")
    )
    assert url == f"amqp://worker:{password}@rabbitmq1,rabbitmq2,rabbitmq3"
    (tmp_path / "secrets" / "amqp_worker_url").unlink()
    assert [path.name for path in make(tmp_path, cluster=True)] == ["amqp_worker_url"]
    assert (tmp_path / "secrets" / "amqp_worker_url").read_text("utf-8").strip() == url


def test_a_clusters_secrets_are_all_different_and_made_once(tmp_path: Path) -> None:
    make(tmp_path, cluster=True)
    before = _contents(tmp_path)
    secrets = re.findall(r"\b[0-9a-f]{64}\b", "".join(before[f"secrets/{name}"] for name in CLUSTER_SECRETS))
    assert len(set(secrets)) == len(secrets) == len(CLUSTER_SECRETS)
    assert make(tmp_path, cluster=True) == []
    assert _contents(tmp_path) == before


@pytest.mark.parametrize(("first", "kind"), [(False, "one server"), (True, "a cluster")])
def test_a_checkout_is_for_one_kind(tmp_path: Path, first: bool, kind: str) -> None:  # noqa: FBT001  # a parameter
    make(tmp_path, cluster=first)
    before = _contents(tmp_path)
    with pytest.raises(InvalidSettings, match=rf"\.env is that of {kind}: use another checkout"):
        make(tmp_path, cluster=not first)
    assert _contents(tmp_path) == before
