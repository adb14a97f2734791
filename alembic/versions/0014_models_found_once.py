"""A job keeps what its model's name meant, and a snapshot of its files"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply: a job that is under way has its model looked for once more."""
    with op.batch_alter_table("job") as job:
        job.add_column(sa.Column("source_json", sa.JSON(), nullable=False, server_default="{}"))
        job.add_column(sa.Column("snapshot", sa.String(), nullable=True))
    with op.batch_alter_table("job") as job:
        job.alter_column("source_json", server_default=None)


def downgrade() -> None:
    """Undo."""
    with op.batch_alter_table("job") as job:
        job.drop_column("snapshot")
        job.drop_column("source_json")
