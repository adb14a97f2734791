"""The schema's version: check it, create it, upgrade it. Alembic is loaded where there is something to upgrade."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine, event, inspect, text

from tuner.config import Settings
from tuner.db.backup import back_up, check_space
from tuner.db.engine import make_engine, shown_url, sqlite_path
from tuner.db.identity import id_if_known, take_id
from tuner.errors import SchemaOutdated, SchemaUnknown
from tuner.ownership import bind, bound_id, claim

if TYPE_CHECKING:
    from alembic.config import Config

_INSTALLED = Path(__file__).parent / "_migrations"  # where the wheel puts them
_CHECKOUT = Path(__file__).parents[2] / "alembic"


def create_or_check(settings: Settings) -> None:
    """Create the schema in an empty database, else check it, and that the data directory is this database's.

    Raises DataDirForeign, and as ``check_schema`` does.
    """
    claim(settings)
    if _is_empty(settings):
        upgrade(settings)
    else:
        check_schema(settings)
        _bind(settings)


def check_schema(settings: Settings) -> None:
    """Raises SchemaOutdated when an upgrade is due, SchemaUnknown when the database is not one of this release's."""
    if _sqlite_file_missing(settings):
        raise SchemaOutdated(f"There is no database at {shown_url(settings)} yet.", _upgrade_hint(settings))
    engine = make_engine(settings)
    try:
        check_engine(engine, settings)
    finally:
        engine.dispose()


def check_engine(engine: Engine, settings: Settings) -> None:
    """As ``check_schema``, over an engine that is open already."""
    revision = _revision(engine)
    if revision == head():
        return
    if revision is None and inspect(engine).get_table_names():
        raise SchemaUnknown(
            f"The database {shown_url(settings)} has tables but no schema version: it was not made by this service.",
            "Start with --data-dir on another folder.",
        )
    if revision is not None and revision not in known_revisions():
        raise SchemaUnknown(
            f"The database {shown_url(settings)} has schema {revision}, which this release (at {head()}) does not "
            "know; a newer release wrote it.",
            "Install the newer release, or start with --data-dir on another folder.",
        )
    raise SchemaOutdated(
        f"The database {shown_url(settings)} has schema {revision or 'none'}; this release needs {head()}.",
        _upgrade_hint(settings),
    )


def upgrade(settings: Settings) -> Path | None:
    """Bring the schema to this release's; returns the backup made of a SQLite file that held something, else None.

    Nobody may use the database meanwhile. Raises DataDirForeign, SchemaUnknown and StorageFull before it has touched
    anything.
    """
    from alembic import command

    claim(settings)
    bound = bound_id(settings)
    is_own_of_old = bool(bound) and _lies_in_data_dir_without_id(settings)
    if not is_own_of_old:
        _bind(settings)
    backup = _backup_if_due(settings)
    engine = make_engine(settings)
    if engine.dialect.name == "sqlite":  # a migration may copy and drop a table that others refer to
        event.listen(engine, "connect", lambda connection, _record: connection.execute("PRAGMA foreign_keys=OFF"))
    try:
        with engine.connect().execution_options(immediate=True) as connection, connection.begin():
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
        if is_own_of_old:
            take_id(engine, bound)
        bind(settings, id_if_known(engine))
    finally:
        engine.dispose()
    return backup


@cache
def head() -> str:
    """The revision this release needs: the last, as the names of files begin with them."""
    return max(path.name for path in (_folder() / "versions").glob("[0-9]*.py")).partition("_")[0]


def known_revisions() -> set[str]:
    """All revisions this release can upgrade from, its own included."""
    from alembic.script import ScriptDirectory

    return {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}


def _revision(engine: Engine) -> str | None:
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
        return found


def _folder() -> Path:
    return _INSTALLED if _INSTALLED.is_dir() else _CHECKOUT


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_folder()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _sqlite_file_missing(settings: Settings) -> bool:
    path = sqlite_path(settings)
    return path is not None and not path.exists()


def _is_empty(settings: Settings) -> bool:
    if _sqlite_file_missing(settings):
        return True
    engine = make_engine(settings)
    try:
        return not inspect(engine).get_table_names()
    finally:
        engine.dispose()


def _bind(settings: Settings) -> None:
    if _sqlite_file_missing(settings):
        bind(settings, None)
        return
    engine = make_engine(settings)
    try:
        bind(settings, id_if_known(engine))
    finally:
        engine.dispose()


def _lies_in_data_dir_without_id(settings: Settings) -> bool:
    """Is it the data directory's own file, put back as an earlier release had left it?"""
    path = sqlite_path(settings)
    if path is None or path.parent != settings.root or _is_empty(settings):
        return False
    engine = make_engine(settings)
    try:
        return id_if_known(engine) is None
    finally:
        engine.dispose()


def _backup_if_due(settings: Settings) -> Path | None:
    path = sqlite_path(settings)
    if path is None or not path.exists() or path.stat().st_size == 0:
        return None
    engine = make_engine(settings)
    try:
        check_engine(engine, settings)
        return None
    except SchemaOutdated:
        pass
    finally:
        engine.dispose()
    check_space(path)
    return back_up(path)


def _upgrade_hint(settings: Settings) -> str:
    return f"Run `tunesmith db upgrade --data-dir {settings.root}` (it makes a backup first)."
