"""What a job has found out of its module is its own: its artifact may be one that was there before"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "evidence",
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("manifest", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_evidence_job_id")),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_evidence")),
    )


def downgrade() -> None:
    """Undo."""
    op.drop_table("evidence")
