"""The settings of every command: environment variables `TIDEMARK_…` over `conf/<env>.yaml` over the defaults here.

Built once by an entry point with `load_settings()` and passed in; nothing else reads the environment. A setting that is
unknown or malformed stops the command with one line that names it (`SettingsError`).
"""

import os
import secrets
import tempfile
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AliasChoices, Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from conf.addresses import broker_addresses, http_address, metadata_address, redis_address
from conf.locations import is_remote, storage_uri
from conf.packaged import packaged_folder
from tidemark.errors import SettingsError

PACKAGED = packaged_folder(Path(__file__).resolve().parent)
"""Folder of the environment files and of the definitions that ship."""
PREFIX = "TIDEMARK_"
ENVIRONMENTS = ("local", "test", "aws")

_ADDRESSES = {
    "redis_url": redis_address,
    "metadata_url": metadata_address,
    "kafka_bootstrap": broker_addresses,
    "kinesis_endpoint": http_address,
}
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Waiting = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Settings(BaseSettings):
    """Frozen; relative paths are taken from the working directory of the command."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="forbid", populate_by_name=True
    )

    env: Literal["local", "test", "aws"] = "local"
    home: Path = Field(Path(".tidemark"), description="everything embedded: lake, Redis data, logs…")
    lake: str | None = Field(None, description="path or URI of the Delta lake; read `lake_uri`")
    checkpoints: str | None = Field(None, description="path or URI of the streams' checkpoints; read `checkpoints_uri`")
    source: Literal["files", "kafka", "kinesis"] = "files"
    kafka_bootstrap: str | None = Field(None, description="host:port[,host:port] of the brokers")
    kafka_topic_prefix: str = Field("tidemark.", pattern=r"^[A-Za-z0-9._-]*$", description="topic = prefix + contract")
    kinesis_endpoint: str | None = Field(None, description="only for a stand-in of the service")
    kinesis_stream_prefix: str = Field("tidemark-", pattern=r"^[A-Za-z0-9_.-]*$", description="before the contract")
    aws_region: str | None = Field(None, validation_alias=AliasChoices("AWS_REGION", "aws_region"))
    redis_url: str | None = Field(None, description="unset = the embedded server; read runtime.redis_server.redis_url")
    metadata_url: str | None = Field(None, description="SQLAlchemy URL; read `metadata_uri`")
    definitions: str | None = Field(None, description="folders, separated by the path separator or a comma")

    pseudonym_key: SecretStr | None = Field(None, description="key of masked values; read `resolve_pseudonym_key()`")
    stale_after_s: Seconds = Field(30, description="age of speed's as-of beyond which a backlog makes it stale")
    lake_trigger_s: Waiting = Field(10, description="interval of the lake writer's micro-batches")
    speed_trigger_s: Waiting = Field(0.25, description="shortest interval of speed's micro-batches; 0 = no pause")
    barrier_timeout_s: Waiting = Field(120, description="how long a batch waits for the lake to hold the source")
    segment_retention_s: Waiting = Field(86_400, description="how long a consumed source segment is kept")
    shuffle_partitions: int = Field(2, ge=1, le=10_000, description="of Spark; fixed for the life of a checkpoint")
    spark_master: str | None = Field(None, description="unset = the platform's (spark-submit)")
    driver_memory: str | None = Field(None, pattern=r"^[1-9][0-9]*[mg]$", description="heap of a local Spark, as 3g")
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        given = init_settings.init_kwargs if isinstance(init_settings, InitSettingsSource) else {}
        name = str(given.get("env") or os.environ.get(f"{PREFIX}ENV") or "local")
        return init_settings, env_settings, InitSettingsSource(settings_cls, init_kwargs=_environment_file(name))

    @field_validator("home")
    @classmethod
    def _absolute_home(cls, home: Path) -> Path:
        home = Path(os.path.abspath(home.expanduser()))
        if home.exists() and not home.is_dir():
            raise ValueError(f"{home} is not a folder")
        return home

    @field_validator("lake", "checkpoints")
    @classmethod
    def _usable_storage(cls, location: str | None) -> str | None:
        return None if location is None else storage_uri(location)

    @field_validator("redis_url", "metadata_url", "kafka_bootstrap", "kinesis_endpoint")
    @classmethod
    def _readable_address(cls, address: str | None, field: ValidationInfo) -> str | None:
        return None if address is None else _ADDRESSES[field.field_name or ""](address)

    @field_validator("definitions")
    @classmethod
    def _definition_folders_exist(cls, folders: str | None) -> str | None:
        for folder in _split_folders(folders or ""):
            if not folder.is_dir():
                raise ValueError(f"{folder} is not a folder")
        return folders

    @field_validator("pseudonym_key")
    @classmethod
    def _long_enough(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and len(key.get_secret_value()) < 16:
            raise ValueError("must have at least 16 characters")
        return key

    @model_validator(mode="after")
    def _kafka_needs_brokers(self) -> "Settings":
        if self.source == "kafka" and not self.kafka_bootstrap:
            raise ValueError(f"{PREFIX}KAFKA_BOOTSTRAP: must be set when {PREFIX}SOURCE is kafka")
        return self

    @property
    def lake_uri(self) -> str:
        """Root of the lake: an absolute path without `file://`, or an object store's URI."""
        return self.lake or str(self.home / "lake")

    @property
    def checkpoints_uri(self) -> str:
        """Root of the streams' checkpoints, of the same form as `lake_uri`."""
        return self.checkpoints or str(self.home / "checkpoints")

    @property
    def metadata_uri(self) -> str:
        """SQLAlchemy URL of the metadata."""
        return self.metadata_url or f"sqlite:///{self.home / 'metadata.db'}"

    @property
    def definition_folders(self) -> tuple[Path, ...]:
        """Folders with `contracts/` and `metrics/`, in the order given; without any, those that ship."""
        return _split_folders(self.definitions or "") or (PACKAGED,)

    def resolve_pseudonym_key(self) -> str:
        """The key of masked values: configured, else made once under the home.

        A remote lake outlives the machine, and with it a key made here: there the key must be configured, or the same
        person would get another pseudonym on every cluster.
        """
        if self.pseudonym_key is not None:
            return self.pseudonym_key.get_secret_value()
        if is_remote(self.lake_uri):
            raise SettingsError(f"{PREFIX}PSEUDONYM_KEY: must be set when {PREFIX}LAKE is not on this machine")
        return _key_file(self.home / "pseudonym.key")


def load_settings(env: str | None = None) -> Settings:
    """Settings of this process; `env` (a job's `--env`) goes before TIDEMARK_ENV. Raises SettingsError, one line."""
    name = env or os.environ.get(f"{PREFIX}ENV") or "local"
    if name not in ENVIRONMENTS:
        raise SettingsError(f"{PREFIX}ENV: {name!r} is none of {', '.join(ENVIRONMENTS)}")
    refuse_unknown(os.environ)
    try:
        return Settings(env=name)
    except ValidationError as error:
        raise SettingsError(_one_line(error, name)) from None


def refuse_unknown(environ: Mapping[str, str]) -> None:
    """Raise SettingsError for a `TIDEMARK_…` variable that is no setting, with the nearest name that is one."""
    known = [PREFIX + name.upper() for name in Settings.model_fields if name != "aws_region"]
    for name in sorted(environ):
        if name.upper().startswith(PREFIX) and name.upper() not in known:
            near = get_close_matches(name.upper(), known, n=1)
            raise SettingsError(f"{name}: unknown setting" + (f"; did you mean {near[0]}?" if near else ""))


def _environment_file(name: str) -> dict[str, Any]:
    if name not in ENVIRONMENTS:
        return {}  # the field `env` says so better
    try:
        values = yaml.safe_load((PACKAGED / f"{name}.yaml").read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError) as error:
        raise SettingsError(f"conf/{name}.yaml: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict) or "env" in values:
        raise SettingsError(f"conf/{name}.yaml: must be a mapping of settings without `env`")
    return values


def _one_line(error: ValidationError, env: str) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    message = first["msg"].removeprefix("Value error, ").replace("\n", " ")
    if not first["loc"]:
        return message
    field = str(first["loc"][0])
    variable = field if field == "AWS_REGION" else PREFIX + field.upper()
    if variable in os.environ or f"{field}" not in _environment_file(env):
        return f"{variable}: {message[0].lower()}{message[1:]}"
    return f"{field} in conf/{env}.yaml: {message[0].lower()}{message[1:]}"


def _split_folders(text: str) -> tuple[Path, ...]:
    parts = (part.strip() for chunk in text.split(os.pathsep) for part in chunk.split(","))
    return tuple(Path(os.path.abspath(Path(part).expanduser())) for part in parts if part)


def _key_file(file: Path) -> str:
    """The key in `file`, created 0600 when absent; of two commands that create it at once, both read the same."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".pseudonym-", dir=file.parent)
        with os.fdopen(handle, "w", encoding="ascii") as draft:
            draft.write(secrets.token_hex(32))
            draft.flush()
            os.fsync(draft.fileno())
        try:
            os.link(name, file)
        except FileExistsError:
            pass
        finally:
            os.unlink(name)
    return file.read_text(encoding="ascii").strip()
