"""Jobs for texts of any lengths"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply: jobs that are there are for one shape."""
    with op.batch_alter_table("job") as job:
        job.add_column(sa.Column("lengths", sa.JSON(), nullable=True))


def downgrade() -> None:
    """Undo."""
    with op.batch_alter_table("job") as job:
        job.drop_column("lengths")
