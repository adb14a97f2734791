"""What devices found when they loaded and ran artifacts that were made for them"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "device_check",
        sa.Column("artifact_id", sa.String(), nullable=False),
        sa.Column("device_key", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("found", sa.JSON(), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["artifact_id"], ["artifact.id"], name=op.f("fk_device_check_artifact_id_artifact")),
        sa.PrimaryKeyConstraint("artifact_id", "device_key", name=op.f("pk_device_check")),
    )


def downgrade() -> None:
    """Undo."""
    op.drop_table("device_check")
