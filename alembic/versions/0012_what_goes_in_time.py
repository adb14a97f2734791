"""Jobs say whether their events were thinned out, artifacts when their file was removed"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table("job") as job:
        job.add_column(sa.Column("thinned", sa.Boolean(), nullable=False, server_default=sa.false()))
    with op.batch_alter_table("job") as job:
        job.alter_column("thinned", server_default=None)
    op.create_index(op.f("ix_job_thinned_finished_at"), "job", ["thinned", "finished_at"])
    op.add_column("artifact", sa.Column("evicted_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    """Undo."""
    with op.batch_alter_table("artifact") as artifact:
        artifact.drop_column("evicted_at")
    op.drop_index(op.f("ix_job_thinned_finished_at"), table_name="job")
    with op.batch_alter_table("job") as job:
        job.drop_column("thinned")
