"""Every environment variable that the services know, checked once at start."""

import re
import ssl
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from shared.contract.acceptance import OLDEST_US, Rules
from shared.contract.validation import moment, problems
from shared.domain.errors import InvalidSettings
from shared.domain.slots import SLOT_S
from shared.domain.timestamps import LAST_US, US_PER_S
from shared.http.browsers import Browsers

Port = Annotated[int, Field(ge=1, le=65535)]
MAX_GAP_S = 31 * 24 * 3600
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


class _InFile(NamedTuple):
    """A secret that stands in a file."""

    variable: str
    """What names the file."""
    path: str
    twice: bool
    """The secret itself is given, too."""


def _content(given: object) -> object:
    if not isinstance(given, _InFile):
        return given
    known = given._asdict()
    if given.twice:
        raise PydanticCustomError("twice", "is set, and so is {variable}: only one of them may be", known)
    try:
        content = Path(given.path).read_text("utf-8").strip()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise PydanticCustomError("file", "cannot be read from {variable}: {why}", {**known, "why": why}) from None
    if not content:
        raise PydanticCustomError("file", "is empty in the file that {variable} names", known)
    return content


_OR_IN_FILE = BeforeValidator(_content)
Secret = Annotated[Annotated[str, Field(min_length=1)] | None, Field(repr=False), _OR_IN_FILE]
"""A setting `X` that may stand in a file instead, as containers are given their secrets: `X_FILE` names it."""


class Settings(BaseModel):
    """What a service reads from the environment; each field is the variable of its alias."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> Self:
        """Check the variables.

        Raises:
            InvalidSettings: naming every wrong one, in one line.

        """
        secrets = [each.alias for each in cls.model_fields.values() if each.alias and _OR_IN_FILE in each.metadata]
        in_files = {
            variable: _InFile(named_by, environ[named_by], variable in environ)
            for variable in secrets
            if (named_by := f"{variable}_FILE") in environ
        }
        try:
            return cls.model_validate({**environ, **in_files})
        except ValidationError as error:
            # Of a default that is wrong pydantic names the field, and not the variable.
            variables = {name: each.alias for name, each in cls.model_fields.items()}
            wrong = (f"{variables.get(each.at, each.at)} {each.problem}" for each in problems(error))
            raise InvalidSettings("; ".join(wrong)) from None


class LogSettings(Settings):
    """How much a service says."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", alias="POWER_LOG_LEVEL")


class BrokerAddress(Settings):
    """Where the broker is, and over TLS how it is known."""

    mqtt_host: str = Field("127.0.0.1", alias="POWER_MQTT_HOST", min_length=1)
    mqtt_port: Port = Field(1883, alias="POWER_MQTT_PORT")
    mqtt_ca_file: Path | None = Field(None, alias="POWER_MQTT_CA_FILE")

    @field_validator("mqtt_ca_file")
    @classmethod
    def _holds_certificates(cls, path: Path) -> Path:
        try:
            ssl.create_default_context(cafile=path)
        except OSError as error:
            raise PydanticCustomError("ca", "holds no certificates: {why}", {"why": error.strerror}) from None
        return path


class BrokerSettings(BrokerAddress):
    """How a service gets into the broker: without a name only where everybody may."""

    mqtt_username: str | None = Field(None, alias="POWER_MQTT_USERNAME", min_length=1)
    mqtt_password: Secret = Field(None, alias="POWER_MQTT_PASSWORD")

    @field_validator("mqtt_password")
    @classmethod
    def _is_somebodys(cls, password: str, info: ValidationInfo) -> str:
        if info.data.get("mqtt_username", "") is None:
            raise PydanticCustomError("nobodys", "is set, so POWER_MQTT_USERNAME must be, too")
        return password


class BrokerAdminSettings(BrokerAddress):
    """How a tool gets into the broker that says who else may."""

    mqtt_admin_password: Secret = Field(None, alias="POWER_MQTT_ADMIN_PASSWORD")


class FolderSettings(Settings):
    """Where a service keeps what must outlive it."""

    data_dir: Path = Field(Path("data"), alias="POWER_DATA_DIR")


class StoreSettings(FolderSettings):
    """Where readings and energy are kept."""

    store: Literal["embedded", "influxdb"] = Field("embedded", alias="POWER_STORE")
    influxdb_url: str = Field("", alias="INFLUXDB_URL", validate_default=True)
    influxdb_token: Secret = Field(None, alias="INFLUXDB_TOKEN")
    influxdb_org: str = Field("", alias="INFLUXDB_ORG")
    influxdb_bucket: str = Field("power", alias="INFLUXDB_BUCKET", min_length=1)
    influxdb_settle_s: float = Field(30.0, alias="INFLUXDB_SETTLE_S", gt=0, le=600)

    @field_validator("influxdb_url")
    @classmethod
    def _is_an_address(cls, url: str, info: ValidationInfo) -> str:
        if info.data.get("store") == "influxdb" and not url.startswith(("http://", "https://")):
            raise PydanticCustomError("url", "should be an address, such as http://127.0.0.1:8086")
        if "@" in url:
            raise PydanticCustomError("login", "should not say who we are: that is for INFLUXDB_TOKEN")
        return url


def _listed(given: object) -> object:
    return [each.strip().lower() for each in given.split(",") if each.strip()] if isinstance(given, str) else given


_LISTED = BeforeValidator(_listed)
"""A list, with commas between."""
HostName = Annotated[str, Field(pattern=r"^(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])$")]
Origin = Annotated[str, Field(pattern=r"^https?://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]+)?$")]


class ListenerSettings(Settings):
    """Where a process listens, and whom it lets in: without tokens everybody, and then only from this machine."""

    api_tokens_file: Path | None = Field(None, alias="POWER_API_TOKENS_FILE")
    http_host: str = Field("127.0.0.1", alias="POWER_HTTP_HOST", min_length=1)
    hosts: Annotated[frozenset[HostName], _LISTED] = Field(frozenset(), alias="POWER_HOSTS")
    allowed_origins: Annotated[frozenset[Origin], _LISTED] = Field(frozenset(), alias="POWER_ALLOWED_ORIGINS")

    @field_validator("api_tokens_file", mode="before")
    @classmethod
    def _named(cls, path: object) -> object:
        if path == "":  # which would be the current folder
            raise PydanticCustomError("empty", "is empty")
        return path

    @field_validator("http_host")
    @classmethod
    def _asks_beyond_this_machine(cls, host: str, info: ValidationInfo) -> str:
        if info.data.get("api_tokens_file", Path()) is None and not _is_loopback(host):
            raise PydanticCustomError("open", "is not this machine alone, so POWER_API_TOKENS_FILE must be set")
        return host

    @property
    def browsers(self) -> Browsers:
        """Who may use the service from a browser."""
        return Browsers(self.api_tokens_file is None, self.hosts, self.allowed_origins)


class HttpSettings(ListenerSettings):
    """Where a service listens."""

    http_port: Port = Field(5000, alias="POWER_HTTP_PORT")


class SenderSettings(Settings):
    """What a tool that sends shows to the service."""

    api_token: str | None = Field(None, alias="POWER_API_TOKEN", pattern="^[!-~]+$", repr=False)


def _date_or_moment(given: object) -> int:
    """Read an ISO 8601 date, which stands for its first moment in UTC, or a moment."""
    return moment(f"{given}T00:00:00Z" if isinstance(given, str) and _DATE.fullmatch(given) else given)


class ReadingSettings(Settings):
    """Which readings are taken."""

    allow_negative: bool = Field(default=False, alias="POWER_ALLOW_NEGATIVE")
    max_gap_s: int = Field(24 * 3600, alias="POWER_MAX_GAP_S", ge=SLOT_S, le=MAX_GAP_S)
    max_ahead_s: int = Field(900, alias="POWER_MAX_AHEAD_S", ge=0, le=LAST_US // US_PER_S)
    oldest_us: Annotated[int, BeforeValidator(_date_or_moment)] = Field(OLDEST_US, alias="POWER_OLDEST")

    @property
    def rules(self) -> Rules:
        """What batches are judged by."""
        return Rules(self.allow_negative, self.max_gap_s * US_PER_S, self.max_ahead_s * US_PER_S, self.oldest_us)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:  # a name, which may mean any address
        return False


class IngestSettings(BrokerSettings, HttpSettings, FolderSettings, ReadingSettings):
    """The gateway's."""

    outbox_max_bytes: int = Field(2**30, alias="POWER_OUTBOX_MAX_BYTES", ge=16 * 2**20)
    outbox_sender_bytes: Annotated[int | None, BeforeValidator(lambda given: given or None)] = Field(
        None, alias="POWER_OUTBOX_SENDER_BYTES", ge=16 * 2**20
    )
    """Half of `outbox_max_bytes` where it is None; docker-compose.yml gives an empty text for that."""


class WorkerSettings(BrokerSettings, ListenerSettings, StoreSettings, ReadingSettings):
    """The worker's."""

    http_port: int = Field(5001, alias="POWER_WORKER_HTTP_PORT", ge=0, le=65535)
    """Where it tells how it is; 0 is nowhere."""


class QuerySettings(HttpSettings, StoreSettings):
    """The query service's."""
