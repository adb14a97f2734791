"""Indexes for every question that is asked, and room for numbers beyond 32 bits"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_OLD = {
    "job": [("created_at",), ("model_id",), ("state",)],
    "record": [("job_id",), ("workload_id",)],
    "event": [("job_id",)],
    "round": [("job_id",)],
}
_NEW = {
    "job": [
        ("created_at", "id"),
        ("state", "created_at", "id"),
        ("model_id", "created_at", "id"),
        ("target", "created_at", "id"),
        ("artifact_id",),
    ],
    "workload": [("name", "flops", "weight_bytes", "id")],
    "round": [("job_id", "number"), ("state",)],
    "record": [
        ("round_id",),
        ("mean_sec", "id", "error_class"),
        ("target_family", "mean_sec", "id", "error_class"),
        ("job_id", "mean_sec", "id", "error_class"),
    ],
    "artifact": [("created_at", "id")],
    "benchmark": [("created_at", "id"), ("artifact_id",)],
    "event": [("job_id", "id"), ("job_id", "kind", "id")],
}
_LOOKUP = "ix_record_lookup"
_LOOKED_UP = ["workload_id", "target_family", "error_class", "mean_sec", "id", "candidate", "job_id"]
_WIDE = {"workload": "weight_bytes", "artifact": "size_bytes", "record": "id", "benchmark": "id", "event": "id"}


def upgrade() -> None:
    """Apply."""
    _replace(_OLD, _NEW, _LOOKED_UP)
    _set_type("bigint", sa.Integer(), sa.BigInteger())


def downgrade() -> None:
    """Undo."""
    _set_type("integer", sa.BigInteger(), sa.Integer())
    _replace(_NEW, _OLD, ["workload_id", "target_family", "mean_sec"])


def _replace(
    before: dict[str, list[tuple[str, ...]]], after: dict[str, list[tuple[str, ...]]], looked_up: list[str]
) -> None:
    op.drop_index(_LOOKUP, table_name="record")
    for table, indexes in before.items():
        for columns in indexes:
            op.drop_index(_name(table, columns), table_name=table)
    op.create_index(_LOOKUP, "record", looked_up)
    for table, indexes in after.items():
        for columns in indexes:
            op.create_index(_name(table, columns), table, list(columns))


def _name(table: str, columns: tuple[str, ...]) -> str:
    return op.f(f"ix_{table}_{'_'.join(columns)}")


def _set_type(name: str, before: sa.types.TypeEngine, after: sa.types.TypeEngine) -> None:
    """Widen or narrow the columns that need it; SQLite's integers are all of 64 bits."""
    if op.get_bind().dialect.name == "sqlite":
        return
    for table, column in _WIDE.items():
        op.alter_column(table, column, existing_type=before, type_=after, existing_nullable=False)
        if column == "id":
            op.execute(f"ALTER SEQUENCE {table}_id_seq AS {name}")
