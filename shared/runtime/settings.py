"""Every environment variable that the services read, checked once at start."""

import re
import ssl
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import parse_qsl

from pydantic import BeforeValidator, Field, ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from shared.contract.acceptance import MAX_AHEAD_US, OLDEST_US, Rules
from shared.contract.limits import MAX_KW, MAX_VALUE, MAX_WAIT_S
from shared.contract.validation import moment, problems
from shared.domain.errors import InvalidSettings
from shared.domain.slots import DEFAULT_MAX_GAP_US, SLOT_S
from shared.domain.timestamps import LAST_US, US_PER_S
from shared.http.browsers import Browsers, is_loopback
from shared.runtime import management_url
from shared.runtime.broker_url import Broker, parse

Port = Annotated[int, Field(ge=1, le=65535)]
MAX_GAP_S = 31 * 24 * 3600
MAX_PARTITIONS = 1024
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def _secret(variable: str, path: str, *, is_second: bool) -> str:
    """Return the secret in the file that a variable names; a second value of the same secret is an error."""
    if is_second:
        raise PydanticCustomError("twice", f"is set, and so is {variable}: only one of them may be")
    try:
        content = Path(path).read_text("utf-8").strip()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8"
        raise PydanticCustomError("file", "cannot be read from {file}: {why}", {"file": variable, "why": why}) from None
    if not content:
        raise PydanticCustomError("file", f"is empty in the file that {variable} names")
    return content


_OR_IN_FILE = BeforeValidator(lambda given: given() if callable(given) else given)
Secret = Annotated[Annotated[str, Field(min_length=1)] | None, Field(repr=False), _OR_IN_FILE]
"""A setting `X` whose value can be in a file instead, as container engines provide secrets: `X_FILE` names the file."""


class _Environment(EnvSettingsSource):
    """Reads each field from its variable, and each secret also from its file."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        value, variable, is_complex = super().get_field_value(field, field_name)
        path = self.env_vars.get(f"{variable}_FILE")
        if path is not None and _OR_IN_FILE in field.metadata:
            value = partial(_secret, f"{variable}_FILE", path, is_second=value is not None)
        return value, variable, is_complex


class Settings(BaseSettings):
    """The base of all settings: each field is read from the environment variable that its alias names."""

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", case_sensitive=True, enable_decoding=False, validate_default=False
    )

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *_: Any, **__: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Use `_Environment` over the variables that `load` was given, and no other source."""
        source = _Environment(settings_cls)
        source.env_vars = init_settings()
        return (source,)

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> Self:
        """Read and check the variables.

        Raises:
            InvalidSettings: one line that names every wrong variable.

        """
        try:
            return cls(**environ)
        except ValidationError as error:
            # pydantic names the alias, except for a wrong default, where it names the field.
            variables = {name: each.alias for name, each in cls.model_fields.items()}
            wrong = (f"{variables.get(each.at, each.at)} {each.problem}" for each in problems(error))
            raise InvalidSettings("; ".join(wrong)) from None


class LogSettings(Settings):
    """The settings of the log."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", alias="POWER_LOG_LEVEL")


class BrokerAddress(Settings):
    """The broker's address, and the certificates to check it by."""

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
    """Which broker a service uses, and how it logs in; without a username it connects anonymously.

    `broker` is what they say together.
    """

    broker_schemes: ClassVar[tuple[str, ...]] = ("mqtt", "mqtts")

    mqtt_username: str | None = Field(None, alias="POWER_MQTT_USERNAME", min_length=1)
    mqtt_password: Secret = Field(None, alias="POWER_MQTT_PASSWORD")
    broker_url: Secret = Field(None, alias="POWER_BROKER_URL")

    @field_validator("mqtt_password")
    @classmethod
    def _has_username(cls, password: str, info: ValidationInfo) -> str:
        if info.data.get("mqtt_username", "") is None:
            raise PydanticCustomError("no_username", "is set, so POWER_MQTT_USERNAME must be, too")
        return password

    @field_validator("broker_url")
    @classmethod
    def _is_one_broker(cls, url: str, info: ValidationInfo) -> str:
        try:
            broker = parse(url)
        except ValueError as error:
            raise PydanticCustomError("url", "{why}", {"why": str(error)}) from None
        if broker.scheme not in cls.broker_schemes:
            schemes = " or ".join(f"{each}://" for each in cls.broker_schemes)
            raise PydanticCustomError("scheme", "should begin with {schemes}", {"schemes": schemes})
        if info.data.get("mqtt_ca_file") and not broker.is_encrypted:
            raise PydanticCustomError("ca", "says that there is no TLS, but POWER_MQTT_CA_FILE is set")
        ours = {"mqtt_host": broker.addresses[0][0], "mqtt_port": broker.addresses[0][1]}
        ours |= {"mqtt_username": broker.username, "mqtt_password": broker.password}
        for name, value in ours.items():
            of_setting = cls.model_fields[name]
            if info.data.get(name, of_setting.default) not in {of_setting.default, value}:
                raise PydanticCustomError("twice", "and {other} contradict each other", {"other": of_setting.alias})
        return url

    @property
    def broker(self) -> Broker:
        """The broker: that of POWER_BROKER_URL, or of the settings that begin with POWER_MQTT_."""
        if self.broker_url is not None:
            return parse(self.broker_url)
        scheme = "mqtt" if self.mqtt_ca_file is None else "mqtts"
        return Broker(scheme, ((self.mqtt_host, self.mqtt_port),), self.mqtt_username, self.mqtt_password)


class ClusterSettings(BrokerSettings):
    """What `./power up --workers` needs: RabbitMQ, for the gateway and for the workers."""

    broker_url: Secret = Field(None, alias="POWER_BROKER_URL", validate_default=True)
    amqp_url: Secret = Field(None, alias="POWER_AMQP_URL", validate_default=True)

    @field_validator("broker_url", "amqp_url", mode="before")
    @classmethod
    def _is_set(cls, url: object) -> object:
        if url is None:
            raise PydanticCustomError("missing", "is missing: --workers needs a RabbitMQ")
        return url

    @field_validator("amqp_url")
    @classmethod
    def _is_amqp(cls, url: str) -> str:
        try:
            is_amqp = parse(url).is_amqp
        except ValueError as error:
            raise PydanticCustomError("url", "{why}", {"why": str(error)}) from None
        if not is_amqp:
            raise PydanticCustomError("scheme", "should begin with amqp:// or amqps://")
        return url


class BrokerAdminSettings(BrokerAddress):
    """How `./power ship` logs in to the broker to manage its users."""

    mqtt_admin_password: Secret = Field(None, alias="POWER_MQTT_ADMIN_PASSWORD")


class RabbitMqSettings(Settings):
    """How `./power cluster` and `./power ship` reach the management API of RabbitMQ."""

    rabbitmq_ca_file: Path | None = Field(None, alias="POWER_RABBITMQ_CA_FILE")
    rabbitmq_url: Secret = Field(None, alias="POWER_RABBITMQ_URL", validate_default=True)

    @field_validator("rabbitmq_url")
    @classmethod
    def _is_an_address(cls, url: str | None) -> str:
        if url is None:
            raise PydanticCustomError("missing", "is missing: it names RabbitMQ's management API")
        try:
            management_url.parse(url)
        except ValueError as error:
            raise PydanticCustomError("url", "{why}", {"why": str(error)}) from None
        return url

    @property
    def management(self) -> management_url.Management:
        """The API, and its administrator."""
        return management_url.parse(self.rabbitmq_url or "", self.rabbitmq_ca_file)


class FolderSettings(Settings):
    """Where a service keeps its files."""

    data_dir: Path = Field(Path("data"), alias="POWER_DATA_DIR")


_STORES = {"sqlite": "embedded", "influxdb": "influxdb", "postgresql": "postgresql", "postgres": "postgresql"}
"""The store by the scheme of its address."""
_STORE_URL = r"^(sqlite:.|influxdb:https?://.|postgres(ql)?://)"


class StoreSettings(FolderSettings):
    """Which store holds readings and energy. `POWER_STORE_URL` says it in one address; the others may say the same."""

    store_url: Secret = Field(None, alias="POWER_STORE_URL")
    store: Literal["embedded", "influxdb", "postgresql"] = Field(None, alias="POWER_STORE", validate_default=True)
    postgres_read_url: Secret = Field(None, alias="POWER_POSTGRES_READ_URL")
    influxdb_url: str = Field(None, alias="INFLUXDB_URL", validate_default=True)
    influxdb_token: Secret = Field(None, alias="INFLUXDB_TOKEN")
    influxdb_org: str = Field(None, alias="INFLUXDB_ORG", validate_default=True)
    influxdb_bucket: str = Field(None, alias="INFLUXDB_BUCKET", min_length=1, validate_default=True)
    influxdb_settle_s: float = Field(30.0, alias="INFLUXDB_SETTLE_S", gt=0, le=600)

    @field_validator("store_url")
    @classmethod
    def _is_a_store(cls, url: str | None) -> str | None:
        if url is not None and not re.match(_STORE_URL, url):
            raise PydanticCustomError(
                "store_url", "should be sqlite:FOLDER, influxdb:http://HOST:PORT or postgresql://HOST/DATABASE"
            )
        return url

    @field_validator("store", mode="before")
    @classmethod
    def _is_the_urls(cls, given: str | None, info: ValidationInfo) -> str:
        url: str | None = info.data.get("store_url")
        of_url = _STORES[url.partition(":")[0]] if url else None
        if of_url and given not in (None, of_url):
            raise PydanticCustomError("contradicts", "contradicts POWER_STORE_URL: one of them is enough")
        if given == "postgresql" and not of_url:
            raise PydanticCustomError("no_url", "is postgresql, so POWER_STORE_URL must be set, too")
        return of_url or given or "embedded"

    @field_validator("postgres_read_url")
    @classmethod
    def _is_of_postgresql(cls, url: str, info: ValidationInfo) -> str:
        if info.data.get("store", "postgresql") != "postgresql":
            raise PydanticCustomError("alone", "is set, but POWER_STORE_URL is no PostgreSQL address")
        if not url.startswith(("postgresql://", "postgres://")):
            raise PydanticCustomError("postgres_url", "should be an address, such as postgresql://HOST/DATABASE")
        return url

    @field_validator("influxdb_url", "influxdb_org", "influxdb_bucket", mode="before")
    @classmethod
    def _is_in_the_url(cls, given: str | None, info: ValidationInfo) -> str:
        """Take what `POWER_STORE_URL` says, such as `influxdb:http://127.0.0.1:8086?bucket=power&org=fleet`."""
        name = info.field_name or ""
        url: str = info.data.get("store_url") or ""
        address, _, query = url.removeprefix("influxdb:").partition("?")
        in_url = {"influxdb_url": address, **{f"influxdb_{key}": value for key, value in parse_qsl(query)}}.get(name)
        if not in_url or not url.startswith("influxdb:"):
            return ("power" if name == "influxdb_bucket" else "") if given is None else given
        if given not in (None, in_url):
            raise PydanticCustomError("contradicts", "contradicts POWER_STORE_URL: one of them is enough")
        return in_url

    @field_validator("influxdb_url")
    @classmethod
    def _is_an_address(cls, url: str, info: ValidationInfo) -> str:
        if info.data.get("store") == "influxdb" and not url.startswith(("http://", "https://")):
            raise PydanticCustomError("url", "should be an address, such as http://127.0.0.1:8086")
        if "@" in url:
            raise PydanticCustomError("login", "should not contain a login: set INFLUXDB_TOKEN instead")
        return url

    @property
    def sqlite_folder(self) -> Path:
        """The folder of the embedded store."""
        url = self.store_url or ""
        return Path(url.removeprefix("sqlite:")) if url.startswith("sqlite:") else self.data_dir


def _split(given: object) -> object:
    return [each.strip().lower() for each in given.split(",") if each.strip()] if isinstance(given, str) else given


_COMMA_SEPARATED = BeforeValidator(_split)
HostName = Annotated[str, Field(pattern=r"^(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])$")]
Origin = Annotated[str, Field(pattern=r"^https?://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]+)?$")]


class ListenerSettings(Settings):
    """Where a process listens, and who may use it; without access tokens it must listen on this machine only."""

    api_tokens_file: Path | None = Field(None, alias="POWER_API_TOKENS_FILE")
    http_host: str = Field("127.0.0.1", alias="POWER_HTTP_HOST", min_length=1)
    hosts: Annotated[frozenset[HostName], _COMMA_SEPARATED] = Field(frozenset(), alias="POWER_HOSTS")
    allowed_origins: Annotated[frozenset[Origin], _COMMA_SEPARATED] = Field(frozenset(), alias="POWER_ALLOWED_ORIGINS")

    @field_validator("api_tokens_file", mode="before")
    @classmethod
    def _is_not_empty(cls, path: object) -> object:
        if path == "":  # Path("") would be the current folder
            raise PydanticCustomError("empty", "is empty")
        return path

    @field_validator("http_host")
    @classmethod
    def _is_local_or_needs_tokens(cls, host: str, info: ValidationInfo) -> str:
        if info.data.get("api_tokens_file", Path()) is None and not is_loopback(host):
            raise PydanticCustomError(
                "open", "can be reached from other machines, so POWER_API_TOKENS_FILE must be set"
            )
        return host

    @property
    def browsers(self) -> Browsers:
        """Which browser requests are let in."""
        return Browsers(self.api_tokens_file is None, self.hosts, self.allowed_origins)


class HttpSettings(ListenerSettings):
    """Where an HTTP service listens."""

    http_port: Port = Field(5000, alias="POWER_HTTP_PORT")


class SenderSettings(Settings):
    """How `./power`'s commands log in to the service."""

    api_token: str | None = Field(None, alias="POWER_API_TOKEN", pattern="^[!-~]+$", repr=False)


def _date_or_timestamp(given: object) -> int:
    """Convert an ISO 8601 timestamp, or a date, which means 00:00 UTC, to microseconds since 1970."""
    return moment(f"{given}T00:00:00Z" if isinstance(given, str) and _DATE.fullmatch(given) else given)


class ClockSettings(Settings):
    """How far the senders' clocks may be ahead."""

    max_ahead_s: int = Field(MAX_AHEAD_US // US_PER_S, alias="POWER_MAX_AHEAD_S", ge=0, le=LAST_US // US_PER_S)

    @property
    def max_ahead_us(self) -> int:
        """The same in microseconds."""
        return self.max_ahead_s * US_PER_S


class ReadingSettings(ClockSettings):
    """Which readings are accepted."""

    allow_negative: bool = Field(default=False, alias="POWER_ALLOW_NEGATIVE")
    max_gap_s: int = Field(DEFAULT_MAX_GAP_US // US_PER_S, alias="POWER_MAX_GAP_S", ge=SLOT_S, le=MAX_GAP_S)
    max_kw: float = Field(MAX_KW, alias="POWER_MAX_KW", gt=0, le=MAX_VALUE, allow_inf_nan=False)
    oldest_us: Annotated[int, BeforeValidator(_date_or_timestamp)] = Field(OLDEST_US, alias="POWER_OLDEST")

    @property
    def rules(self) -> Rules:
        """The rules that batches are checked against."""
        return Rules(self.allow_negative, self.max_gap_s * US_PER_S, self.max_ahead_us, self.oldest_us, self.max_kw)


class IngestSettings(BrokerSettings, HttpSettings, FolderSettings, ReadingSettings):
    """The gateway's settings."""

    outbox_max_bytes: int = Field(2**30, alias="POWER_OUTBOX_MAX_BYTES", ge=16 * 2**20)
    outbox_sender_bytes: Annotated[int | None, BeforeValidator(lambda given: given or None)] = Field(
        None, alias="POWER_OUTBOX_SENDER_BYTES", ge=16 * 2**20
    )
    """None means half of `outbox_max_bytes`; docker-compose.yml sets an empty text for that."""
    conflict_wait_s: Annotated[float | None, BeforeValidator(lambda given: given or None)] = Field(
        None, alias="POWER_CONFLICT_WAIT_S", gt=0, le=MAX_WAIT_S
    )
    """None means that there is no other gateway."""


class PartitionSettings(Settings):
    """How many queues a cluster's readings are spread over; only with AMQP."""

    partitions: int = Field(64, alias="POWER_PARTITIONS", ge=1, le=MAX_PARTITIONS)


class WorkerSettings(BrokerSettings, ListenerSettings, StoreSettings, ReadingSettings, PartitionSettings):
    """The worker's settings."""

    broker_schemes: ClassVar[tuple[str, ...]] = ("mqtt", "mqtts", "amqp", "amqps")

    http_port: int = Field(5001, alias="POWER_WORKER_HTTP_PORT", ge=0, le=65535)
    """For health and metrics; 0 switches it off."""


class QuerySettings(HttpSettings, StoreSettings, ClockSettings):
    """The query service's settings."""

    watch_forecasts: bool = Field(default=True, alias="POWER_WATCH_FORECASTS")
