"""The database's own id: what it made on disk carries it, and is nobody else's."""

from __future__ import annotations

from sqlalchemy import Engine, inspect
from sqlmodel import Session, select

from tuner.db.engine import read, write
from tuner.db.models import Identity


def database_id(session: Session) -> str:
    """The id that the database got when its tables were made."""
    return session.exec(select(Identity.id)).one()


def id_if_known(engine: Engine) -> str | None:
    """The same of any database; None of one without tables, or of a release that gave no ids."""
    if not inspect(engine).has_table(str(Identity.__tablename__)):
        return None
    with read(engine) as session:
        return database_id(session)


def take_id(engine: Engine, wanted: str) -> None:
    """Give the database the id that it had before."""
    with write(engine) as session:
        session.exec(select(Identity)).one().id = wanted
