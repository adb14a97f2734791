"""Settings as one value, built once in main and passed down. Every field is a ``TUNER_*`` environment variable."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from rpc.addresses import MAX_PORT
from rpc.logfile import LogLevel

DEFAULT_PORT = 8000
Port = Annotated[int, Field(ge=0, le=MAX_PORT)]
Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Settings(BaseSettings):
    """All settings of the service; units are in the names."""

    model_config = SettingsConfigDict(env_prefix="TUNER_", extra="ignore")

    data_dir: Path = Field(Path("~/.tunesmith"), description="Folder that holds all state.")
    host: str = Field("127.0.0.1", description="Address the web process listens on.")
    allowed_hosts: str = Field("", description="Other names the web process goes by, separated by commas.")
    port: Port | None = Field(None, description="Port of the web process; unset: 8000 or the next free one.")
    database_url: str | None = Field(
        None, repr=False, description="SQLAlchemy URL; unset: SQLite in the data directory."
    )
    engine: str | None = Field(None, description="Dask scheduler address; unset: a local cluster is started.")
    tracker_host: str = Field("127.0.0.1", description="Address of the RPC tracker.")
    tracker_port: Port | None = Field(None, description="Port of the RPC tracker; unset: 9190 or the next free one.")
    engine_workers: Count = Field(1, description="Stages and rounds that the service's own engine runs at once.")
    device_key: str = Field("local", description="Tracker key of this machine's own device.")
    device_threads: Count | None = Field(None, description="Threads kernels run on; unset: physical cores.")
    build_workers: Count | None = Field(None, description="Processes that build candidates; unset: physical cores.")
    build_timeout_sec: Seconds = Field(60.0, description="Deadline of one candidate's build.")
    session_timeout_sec: Seconds = Field(120.0, description="Longest RPC session (a batch of candidates).")
    lease_timeout_sec: Seconds = Field(30.0, description="How long to wait for a device of the tracker.")
    fetch_stall_sec: Seconds = Field(120.0, description="A model of whose files nothing comes for so long is given up.")
    round_batch: Count = Field(16, description="Candidates measured in one round.")
    max_trials: Count = Field(100_000, description="Largest trial budget of a job.")
    max_minutes: float = Field(7 * 24 * 60.0, gt=0, description="Largest time budget of a job.")
    max_upload_bytes: int = Field(256 * 1024 * 1024, description="Largest upload of records.")
    min_free_bytes: int = Field(512 * 1024 * 1024, description="Jobs stop cleanly when less disk than this is free.")
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
    def artifacts_dir(self) -> Path:
        """Where artifact tars lie, named by their id."""
        return self.root / "artifacts"

    @property
    def imports_dir(self) -> Path:
        """Cache of imported models (Relax module, parameters, reference outputs); may be deleted."""
        return self.root / "imports"

    @property
    def sources_dir(self) -> Path:
        """Files of models as they were when jobs that are not finished were about to import them."""
        return self.root / "sources"

    @property
    def operators_dir(self) -> Path:
        """Operators that users sent; jobs name them by their path."""
        return self.root / "operators"

    @property
    def jobs_dir(self) -> Path:
        """What unfinished jobs keep on disk, a folder each: libraries of candidates, modules not published yet."""
        return self.root / "jobs"

    @property
    def run_file(self) -> Path:
        """JSON the supervisor writes: url, ports and pids of the running service."""
        return self.root / "run" / "service.json"
