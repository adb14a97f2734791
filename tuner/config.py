"""Settings as one value, built once in main and passed down. Every field is a ``TUNER_*`` environment variable."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from rpc.addresses import MAX_PORT
from rpc.logfile import LogLevel
from rpc.quiet import default_lock
from tuner.errors import InvalidInput

DEFAULT_PORT = 8000
DEFAULT_TRACKER_PORT = 9190
Port = Annotated[int, Field(ge=0, le=MAX_PORT)]
Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Hours = Annotated[float, Field(gt=0, le=876_000)]
Days = Annotated[float, Field(gt=0, le=36_500)]


class Settings(BaseSettings):
    """All settings of the service; units are in the names."""

    model_config = SettingsConfigDict(env_prefix="TUNER_", extra="ignore")

    data_dir: Path = Field(Path("~/.tunesmith"), description="Folder that holds all state.")
    host: str = Field("127.0.0.1", description="Address the web process listens on.")
    allowed_hosts: str = Field("", description="Other names the web process goes by, separated by commas.")
    auth: Literal["token", "none"] = Field("token", description="What the web process asks for: a token, or nothing.")
    port: Port | None = Field(None, description="Port of the web process; unset: 8000 or the next free one.")
    database_url: str | None = Field(
        None, repr=False, description="SQLAlchemy URL; unset: SQLite in the data directory."
    )
    engine: str | None = Field(None, description="Dask scheduler address; unset: a local cluster is started.")
    engine_ca: Path | None = Field(None, description="Certificate that vouches for all who speak with the engine.")
    engine_cert: Path | None = Field(None, description="Certificate shown to the engine.")
    engine_key: Path | None = Field(None, description="Key of that certificate; unset: it is in the same file.")
    tracker_host: str = Field("127.0.0.1", description="Address of the RPC tracker.")
    tracker_users: str = Field("", description="Other users of this machine that may reach the tracker, by commas.")
    tracker_port: Port | None = Field(None, description="Port of the RPC tracker; unset: 9190 or the next free one.")
    engine_workers: Count = Field(1, description="Stages and rounds that the service's own engine runs at once.")
    device_key: str = Field("local", description="Tracker key of this machine's own device.")
    device_threads: Count | None = Field(None, description="Threads kernels run on; unset: physical cores.")
    build_workers: Count | None = Field(None, description="Processes that build candidates; unset: physical cores.")
    build_timeout_sec: Seconds = Field(60.0, description="Deadline of one candidate's build.")
    session_timeout_sec: Seconds = Field(120.0, description="Longest RPC session (a batch of candidates).")
    lease_timeout_sec: Seconds = Field(30.0, description="How long to wait for a device of the tracker.")
    fetch_stall_sec: Seconds = Field(120.0, description="A model of whose files nothing comes for so long is given up.")
    fetch_timeout_sec: Seconds = Field(6 * 3600.0, description="Longest that the files of one model may take to come.")
    max_model_bytes: Count = Field(16 * 1024**3, description="Largest model, all its files together.")
    round_batch: Count = Field(16, description="Candidates measured in one round.")
    max_trials: Count = Field(100_000, description="Largest trial budget of a job.")
    max_minutes: float = Field(7 * 24 * 60.0, gt=0, description="Largest time budget of a job.")
    max_upload_bytes: int = Field(256 * 1024 * 1024, description="Largest upload of records.")
    max_unpacked_bytes: int = Field(2 * 1024**3, description="Most that an upload of records may unpack to.")
    max_uploads_bytes: Count = Field(50 * 1000**3, description="Most that all uploaded models may take together.")
    allow_pickle_uploads: bool = Field(False, description="Take pickled weights in uploads, which can run code.")
    expire_uploads_hours: Hours = Field(24.0, description="An upload of which nothing comes for so long is removed.")
    keep_uploads_days: Days = Field(30.0, description="Uploaded models are removed so long after their last use.")
    min_free_bytes: int = Field(512 * 1024 * 1024, description="Jobs stop cleanly when less disk than this is free.")
    import_memory_bytes: int | None = Field(
        None, ge=1, description="Most memory that importing a model may take; unset: three quarters of the machine's."
    )
    keras_python: Path | None = Field(None, description="A Python that has Keras and TensorFlow, as rivals of jobs.")
    measuring_lock: Path | None = Field(
        None, description="File that is locked while this machine measures; unset: one per user in /tmp."
    )
    cache_bytes: int = Field(50 * 1000**3, ge=0, description="Most that imported models may take.")
    keep_events_days: Days = Field(30.0, description="Events of a job are thinned out so long after its end.")
    keep_artifacts_days: Days | None = Field(
        None, description="Artifacts that newer ones have replaced are removed after so long; unset: never."
    )
    keep_operators_days: Days | None = Field(
        None, description="Operators that were sent are removed so long after their last job; unset: never."
    )
    keep_backups_days: Days | None = Field(
        None, description="Copies of the database from before upgrades are removed after so long; unset: never."
    )
    logs_dir: Path | None = Field(None, description="Folder of shipped tuning logs; unset: tuning_logs of the package.")
    log_level: LogLevel = Field("INFO", description="Level of the log of each of the service's processes.")

    def as_env(self) -> dict[str, str]:
        """The same settings as environment variables, for a child process."""
        prefix = str(self.model_config["env_prefix"])
        values = self.model_dump(mode="json", exclude_none=True)
        return {prefix + name.upper(): str(value) for name, value in values.items()}

    @property
    def root(self) -> Path:
        """The data directory with ``~`` expanded, absolute."""
        return self.data_dir.expanduser().absolute()

    @property
    def db_url(self) -> str:
        """The database's SQLAlchemy URL."""
        return self.database_url or f"sqlite:///{self.root / 'tunesmith.db'}"

    @property
    def token_file(self) -> Path:
        """The data directory's own token; who may read this file may do everything."""
        return self.root / "token"

    @property
    def artifacts_dir(self) -> Path:
        """Where artifact tars lie, named by their id."""
        return self.root / "artifacts"

    @property
    def imports_dir(self) -> Path:
        """Cache of imported models (Relax module, parameters, reference outputs); may be deleted."""
        return self.root / "imports"

    @property
    def graphs_dir(self) -> Path:
        """Modules that were tuned for ``torch.compile``, by the content of their graphs; may be deleted."""
        return self.root / "graphs"

    @property
    def sources_dir(self) -> Path:
        """Files of models as they were when jobs that are not finished were about to import them."""
        return self.root / "sources"

    @property
    def uploads_dir(self) -> Path:
        """Models that were uploaded, a folder each, and what has come of those on their way."""
        return self.root / "uploads"

    @property
    def operators_dir(self) -> Path:
        """Operators that users sent; jobs name them by their path."""
        return self.root / "operators"

    @property
    def agent_dir(self) -> Path:
        """The wheel that other machines install to become devices; may be deleted."""
        return self.root / "agent"

    @property
    def jobs_dir(self) -> Path:
        """What unfinished jobs keep on disk, a folder each: libraries of candidates, modules not published yet."""
        return self.root / "jobs"

    @property
    def temporary_dir(self) -> Path:
        """Where the service's processes put temporary files."""
        return self.root / "run" / "tmp"

    @property
    def heartbeat_file(self) -> Path:
        """When the coordinator last finished a pass, and what it knows of the engine."""
        return self.root / "run" / "coordinator.beat"

    @property
    def database_id_file(self) -> Path:
        """What makes a folder a data directory: it holds the id of the database that the folder belongs to."""
        return self.root / "run" / "database-id"

    @property
    def own_engine_pem(self) -> Path:
        """Key and certificate of the service's own engine, made anew at each start."""
        return self.root / "run" / "engine.pem"

    @property
    def quiet_lock(self) -> Path:
        """What keeps builds of a person's and measurements on this machine apart."""
        return self.measuring_lock or default_lock()

    @property
    def run_file(self) -> Path:
        """JSON the supervisor writes: url, ports and pids of the running service."""
        return self.root / "run" / "service.json"


def settings_with(**changes: Any) -> Settings:
    """Settings from the environment, with what the command line gave; ``None`` means not given."""
    try:
        return Settings(**{key: value for key, value in changes.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        name = "TUNER_" + "_".join(str(part) for part in first["loc"]).upper()
        raise InvalidInput(
            f"{name}={first['input']!r} is no valid setting: {first['msg']}.", "See docs/settings.md."
        ) from None
