"""Runs the migrations over the connection that tuner.db.migrate hands in."""

from __future__ import annotations

from alembic import context
from sqlmodel import SQLModel

import tuner.db.models  # noqa: F401  (fills the metadata)

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    render_as_batch=True,  # SQLite can alter little: tables are copied
    transactional_ddl=True,
    transaction_per_migration=False,
)
context.run_migrations()
