"""Jobs for which nobody asked for a shape"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply: jobs that are there are for what they were asked for."""
    with op.batch_alter_table("job") as job:
        job.add_column(sa.Column("shape_is_open", sa.Boolean(), nullable=False, server_default=sa.false()))
    with op.batch_alter_table("job") as job:
        job.alter_column("shape_is_open", server_default=None)


def downgrade() -> None:
    """Undo."""
    with op.batch_alter_table("job") as job:
        job.drop_column("shape_is_open")
