"""What tests of all kinds share: settings over a folder of their own, and a database, in it or on Postgres."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from sqlalchemy import Engine

from tests.support import databases, no_io, postgres
from tests.support.cpu_seconds import CpuSeconds
from tests.support.made_once import FOLDER_ENV
from tuner.config import Settings
from tuner.db.engine import make_engine

no_io.install()

# Threads of PyTorch and TVM that wait for work would spin, here and in processes, on the cores of other tests. Who
# calls TVM yields until its workers are done, which get no core here: it computes alone. Devices and services take as
# many threads as anywhere, unless a test says otherwise, and `local_target` compiles for as many.
os.environ |= {"OMP_WAIT_POLICY": "passive", "TVM_THREAD_POOL_SPIN_COUNT": "100"}
os.environ |= {"TVM_NUM_THREADS": "1", "TVM_BIND_THREADS": "0"}

_LONGEST = ("test_service_kinds", "test_service_jobs", "test_optimize", "test_chaos", "test_dashboard")

# Nothing else runs on the machines that these tests know of, so no example is too slow; fixtures are their modules'.
_SLOW = {"deadline": None, "suppress_health_check": list(HealthCheck), "database": None}
hypothesis_settings.register_profile("few", derandomize=True, max_examples=15, **_SLOW)
hypothesis_settings.register_profile("many", max_examples=int(os.environ.get("EXAMPLES", "1000")), **_SLOW)
hypothesis_settings.load_profile("few")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(CpuSeconds())


def pytest_collection(session: pytest.Session) -> None:
    """Test modules import all large libraries: nobody looks for garbage among these, now or later."""
    gc.disable()


def pytest_collection_finish(session: pytest.Session) -> None:
    gc.enable()
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take minutes come first: begun last, each would run on alone."""
    items.sort(key=lambda item: _LONGEST.index(item.path.stem) if item.path.stem in _LONGEST else len(_LONGEST))


@pytest.fixture(autouse=True)
def nothing_but_the_database_within_write() -> Iterator[None]:
    """Fails a test in which a transaction waited for anything else, even where the code went on."""
    yield
    assert no_io.taken() == []


@pytest.fixture(scope="session", autouse=True)
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One for all processes of this run; each one's own folders are below it."""
    own = tmp_path_factory.getbasetemp()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(FOLDER_ENV, str(own.parent if "PYTEST_XDIST_WORKER" in os.environ else own))
        yield


@pytest.fixture(scope="session", autouse=True)
def quiet_lock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What these tests measure and build, here and in processes, keeps out of the way of nobody else's."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("TUNER_MEASURING_LOCK", str(tmp_path_factory.mktemp("quiet") / "lock"))
        yield


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test marked ``both_databases`` runs on SQLite and on Postgres."""
    if metafunc.definition.get_closest_marker("both_databases") and "database_url" in metafunc.fixturenames:
        metafunc.parametrize("database_url", ["sqlite", "postgres"], indirect=True)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Server]:
    """One server for all tests of the session."""
    binaries = postgres.programs()
    if binaries is None:
        pytest.skip("Postgres is not installed: apt-get install postgresql")
    with postgres.running(binaries) as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: postgres.Server) -> Iterator[str]:
    """A database of Postgres with all tables and no rows."""
    yield postgres_server.url(postgres.MIGRATED)
    postgres_server.empty(postgres.MIGRATED)


@pytest.fixture
def database_url(request: pytest.FixtureRequest) -> str | None:
    """Where the test's database is; None: SQLite in the data directory."""
    kind = getattr(request, "param", "sqlite")
    return None if kind == "sqlite" else str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def settings(tmp_path: Path, database_url: str | None) -> Settings:
    """Settings whose data directory is empty and belongs to this test."""
    return Settings(data_dir=tmp_path / "data", database_url=database_url)


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    """A database with all tables and no rows."""
    databases.create(settings)
    engine = make_engine(settings)
    yield engine
    engine.dispose()
