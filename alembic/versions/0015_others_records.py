"""What is new of a workload's records, and what of them others wrote, is found by indexes"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_IMPORTED = sa.text("source = 'imported'")


def upgrade() -> None:
    """Apply."""
    name = op.f("ix_record_workload_id_target_family_id")
    op.create_index(name, "record", ["workload_id", "target_family", "id"])
    op.create_index(
        "ix_record_imported",
        "record",
        ["workload_id", "target_family"],
        sqlite_where=_IMPORTED,
        postgresql_where=_IMPORTED,
    )


def downgrade() -> None:
    """Undo."""
    op.drop_index("ix_record_imported", table_name="record")
    op.drop_index(op.f("ix_record_workload_id_target_family_id"), table_name="record")
