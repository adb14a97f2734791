from __future__ import annotations

import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, MetaData, create_engine, text
from sqlmodel import SQLModel

from tests.support import databases, postgres
from tests.support.processes import ROOT, python_code
from tests.support.rows import add_job, make_record, make_workload
from tuner.config import Settings
from tuner.db import canaries, events, jobs, migrate, records
from tuner.db.engine import make_engine, read, write
from tuner.db.models import Round
from tuner.errors import SchemaOutdated, SchemaUnknown

NEWEST = migrate.head()
ASSETS = sorted((Path(__file__).parent / "assets").glob("*.db"))


def _database(settings: Settings) -> Path:
    settings.root.mkdir(parents=True, exist_ok=True)
    return settings.root / "tunesmith.db"


def _age(settings: Settings, revision: str) -> None:
    """Make the database one of another release: its tables stay, its revision changes."""
    databases.create(settings)
    with closing(sqlite3.connect(_database(settings))) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
        connection.commit()


@pytest.fixture
def postgres_like(postgres_server: postgres.Server, tmp_path: Path) -> Iterator[Callable[[str], Settings]]:
    """Makes the test's own database of Postgres like one that is there; gives its settings."""

    def make(like: str) -> Settings:
        postgres_server.create("fresh", like)
        return Settings(data_dir=tmp_path / "data", database_url=postgres_server.url("fresh"))

    yield make
    postgres_server.drop("fresh")


@pytest.fixture
def fresh_postgres(postgres_like: Callable[[str], Settings]) -> Settings:
    """Settings of a database of Postgres that has no tables."""
    return postgres_like("template0")


@pytest.fixture(scope="module")
def older(postgres_server: postgres.Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """The name of a database of Postgres with the tables of a revision, brought on from the one asked for before."""
    name = "older"
    postgres_server.create(name)
    settings = Settings(data_dir=tmp_path_factory.mktemp("older"), database_url=postgres_server.url(name))

    def at(revision: str) -> str:
        _migrate(settings, command.upgrade, revision)
        return name

    yield at
    postgres_server.drop(name)


def _migrate(settings: Settings, change: Callable[[Config, str], None], revision: str) -> None:
    """Bring an empty database to an older revision, or one of ours back to it."""
    engine, config = make_engine(settings), migrate._config()
    with engine.connect().execution_options(immediate=True) as connection, connection.begin():
        config.attributes["connection"] = connection
        change(config, revision)
    engine.dispose()


def _copy(old: Path, settings: Settings) -> None:
    """All rows of a SQLite file into the database, which is of the same revision."""
    source, target = create_engine(f"sqlite:///{old}"), make_engine(settings)
    tables, wanted = MetaData(), MetaData()
    tables.reflect(source)
    wanted.reflect(target)
    with source.connect() as rows, target.connect().execution_options(immediate=True) as connection, connection.begin():
        for table in tables.sorted_tables:
            found = [dict(row) for row in rows.execute(table.select()).mappings()]
            if found and table.name not in ("alembic_version", "identity"):  # each database has its own
                connection.execute(wanted.tables[table.name].insert(), found)
        for name in ("record", "event"):
            connection.execute(text(f"SELECT setval('{name}_id_seq', 100)"))
    source.dispose()
    target.dispose()


@pytest.mark.both_databases
def test_models_and_migrations_say_the_same(engine: Engine) -> None:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, SQLModel.metadata) == []


def test_there_is_an_old_file_of_every_revision_to_upgrade_from() -> None:
    assert {path.stem for path in ASSETS} == migrate.known_revisions()


def test_the_last_file_is_what_alembic_upgrades_to() -> None:
    assert ScriptDirectory.from_config(migrate._config()).get_current_head() == NEWEST


def test_alembic_is_loaded_to_upgrade_only() -> None:
    code = "import sys; from tuner.db import migrate; migrate.head(); assert 'alembic' not in sys.modules"
    subprocess.run(python_code(code), cwd=ROOT, check=True)


@pytest.mark.parametrize("old", ASSETS, ids=lambda path: path.stem)
def test_an_old_file_is_upgraded_with_its_rows(old: Path, settings: Settings) -> None:
    shutil.copy(old, _database(settings))
    migrate.upgrade(settings)
    migrate.check_schema(settings)
    engine = make_engine(settings)
    with read(engine) as session:
        (job,) = jobs.find(session).rows
        (record,) = records.find(session).rows
        assert (job.state, job.latency_ms, record.job_id) == ("succeeded", 10.0, job.id)
        assert not job.compile_only
        assert record.created_at.tzinfo is not None
        assert len(events.since(session, 0, job.id)) == 1
    engine.dispose()


@pytest.mark.parametrize("old", ASSETS, ids=lambda path: path.stem)
def test_an_old_database_of_postgres_is_upgraded_with_its_rows(
    old: Path, older: Callable[[str], str], postgres_like: Callable[[str], Settings]
) -> None:
    settings = postgres_like(older(old.stem))
    _copy(old, settings)
    assert migrate.upgrade(settings) is None
    migrate.check_schema(settings)
    engine = make_engine(settings)
    with write(engine) as session:
        (job,) = jobs.find(session).rows
        (record,) = records.find(session).rows
        assert (job.state, job.latency_ms, record.job_id) == ("succeeded", 10.0, job.id)
        session.execute(text("SELECT setval('event_id_seq', 3000000000)"))
        events.emit(session, "message", {}, job.id)
    with read(engine) as session:
        assert [event.id for event in events.since(session, 1, job.id)] == [3_000_000_001]
    engine.dispose()


@pytest.mark.both_databases
def test_rounds_of_before_say_how_fast_their_device_was(settings: Settings, request: pytest.FixtureRequest) -> None:
    if settings.database_url is not None:
        settings = request.getfixturevalue("fresh_postgres")
    migrate.upgrade(settings)
    engine = make_engine(settings)
    with write(engine) as session:
        job_id = add_job(session, "tuning").id
        records.put_workload(session, make_workload())
        rounds = [Round(job_id=job_id, workload_id=make_workload().id, canary_ratio=told) for told in (1.25, None)]
        session.add_all(rounds)
        session.flush()
        for ratio in (1.0, 1.5):
            record = make_record(str(ratio), 1e-3, job_id=job_id, round_id=rounds[0].id, canary_ratio=ratio)
            records.append(session, record)
    engine.dispose()
    _migrate(settings, command.downgrade, "0018")
    migrate.upgrade(settings)
    with read(engine) as session:
        assert canaries.ratios_of(session, job_id) == [1.25]
        assert [row.canary_ratio for row in jobs.rounds(session, job_id)].count(None) == 1
    engine.dispose()


def test_an_empty_database_of_postgres_is_created(fresh_postgres: Settings) -> None:
    migrate.create_or_check(fresh_postgres)
    migrate.create_or_check(fresh_postgres)
    migrate.check_schema(fresh_postgres)


@pytest.mark.both_databases
def test_the_way_back_leads_to_the_first_tables(settings: Settings, request: pytest.FixtureRequest) -> None:
    if settings.database_url is not None:
        settings = request.getfixturevalue("fresh_postgres")
    migrate.upgrade(settings)
    _migrate(settings, command.downgrade, "0001")
    engine = make_engine(settings)
    with engine.connect() as connection:
        assert MigrationContext.configure(connection).get_current_revision() == "0001"
    engine.dispose()
    if settings.database_url is not None:
        settings.database_id_file.unlink()  # whether it is the same server's as before nobody knows
    migrate.upgrade(settings)
    migrate.check_schema(settings)


def test_a_fresh_database_is_created_without_a_backup(settings: Settings) -> None:
    migrate.create_or_check(settings)
    migrate.check_schema(settings)
    migrate.create_or_check(settings)
    assert migrate.upgrade(settings) is None
    assert [path.name for path in settings.root.glob("*.db")] == ["tunesmith.db"]


def test_a_missing_database_is_not_made_by_looking(settings: Settings) -> None:
    with pytest.raises(SchemaOutdated, match="no database"):
        migrate.check_schema(settings)
    assert not settings.root.exists()


def test_an_older_schema_is_refused_naming_the_command(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    databases.create(settings)
    monkeypatch.setattr(migrate, "head", lambda: "9999")
    for check in (migrate.check_schema, migrate.create_or_check):
        with pytest.raises(SchemaOutdated, match=NEWEST) as caught:
            check(settings)
        assert f"tunesmith db upgrade --data-dir {settings.root}" in caught.value.hint


def test_an_upgrade_backs_the_file_up_first(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    databases.create(settings)
    monkeypatch.setattr(migrate, "head", lambda: "9999")
    backup = migrate.upgrade(settings)
    assert backup is not None
    assert backup.parent == settings.root
    with closing(sqlite3.connect(backup)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(NEWEST,)]
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_newer_schema_is_refused_and_left_alone(settings: Settings) -> None:
    _age(settings, "7777")
    for act in (migrate.check_schema, migrate.create_or_check, migrate.upgrade):
        with pytest.raises(SchemaUnknown, match=r"7777.*newer release"):
            act(settings)
    assert len(list(settings.root.glob("*.db"))) == 1


def test_a_foreign_database_is_refused_and_left_alone(settings: Settings) -> None:
    with closing(sqlite3.connect(_database(settings))) as connection:
        connection.execute("CREATE TABLE cake (id INTEGER)")
    for act in (migrate.check_schema, migrate.create_or_check, migrate.upgrade):
        with pytest.raises(SchemaUnknown, match="not made by this service"):
            act(settings)


def test_migrations_lie_outside_any_package() -> None:
    folder = Path(migrate.__file__).parents[2] / "alembic"
    assert (folder / "env.py").is_file()
    assert not (folder / "__init__.py").exists()  # it would hide the alembic package


@pytest.mark.parametrize("revision", [None, "7777", "0001"])
def test_what_is_wrong_with_a_schema_is_told_without_the_password(settings: Settings, revision: str | None) -> None:
    databases.create(settings)
    with closing(sqlite3.connect(_database(settings))) as connection:
        connection.execute("DELETE FROM alembic_version")
        if revision:
            connection.execute("INSERT INTO alembic_version VALUES (?)", (revision,))
        connection.commit()
    with_password = settings.model_copy(update={"database_url": "postgresql+psycopg://tunesmith:SECRET@db/tunes"})
    engine = make_engine(settings)
    with pytest.raises((SchemaOutdated, SchemaUnknown), match="@db/tunes") as caught:
        migrate.check_engine(engine, with_password)
    engine.dispose()
    assert "SECRET" not in caught.value.message + caught.value.hint
