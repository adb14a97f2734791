"""Records are added, never replaced: a candidate has attempts, of which one counts; the canary's times are kept"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from tuner.db.types import UtcTime

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_CANDIDATE = ["workload_id", "target_family", "candidate"]
_LOOKUP = "ix_record_lookup"
_OLD = ["workload_id", "target_family", "error_class", "mean_sec", "id", "candidate", "job_id"]
_NEW = [*_OLD[:2], "superseded", *_OLD[2:], "attempt", "created_at"]


def upgrade() -> None:
    """Apply: what is there was tried once."""
    op.drop_index(_LOOKUP, table_name="record")
    with op.batch_alter_table("record") as record:
        record.add_column(sa.Column("attempt", sa.Integer(), nullable=False, server_default="1"))
        record.add_column(sa.Column("superseded", sa.Boolean(), nullable=False, server_default=sa.false()))
        record.add_column(sa.Column("measured_on", sa.String(), nullable=False, server_default=""))
        record.drop_constraint(_unique(_CANDIDATE), type_="unique")
        record.create_unique_constraint(_unique([*_CANDIDATE, "attempt"]), [*_CANDIDATE, "attempt"])
    with op.batch_alter_table("record") as record:
        for column in ("attempt", "superseded", "measured_on"):
            record.alter_column(column, server_default=None)
    op.create_index(_LOOKUP, "record", _NEW)
    op.create_table(
        "canary_time",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("device", sa.String(), nullable=False),
        sa.Column("target_family", sa.String(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_canary_time")),
    )
    op.create_index(op.f("ix_canary_time_device_target_family_id"), "canary_time", ["device", "target_family", "id"])


def downgrade() -> None:
    """Undo; of several attempts only the one that counts can stay."""
    op.drop_table("canary_time")
    op.drop_index(_LOOKUP, table_name="record")
    op.execute("DELETE FROM record WHERE superseded")
    with op.batch_alter_table("record") as record:
        record.drop_constraint(_unique([*_CANDIDATE, "attempt"]), type_="unique")
        record.create_unique_constraint(_unique(_CANDIDATE), _CANDIDATE)
        for column in ("measured_on", "superseded", "attempt"):
            record.drop_column(column)
    op.create_index(_LOOKUP, "record", _OLD)


def _unique(columns: list[str]) -> str:
    return op.f(f"uq_record_{'_'.join(columns)}")
