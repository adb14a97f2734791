"""How a job searches, and how long a candidate of it may take"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply: earlier jobs searched as the search sees fit, within the service's deadlines."""
    with op.batch_alter_table("job") as job:
        job.add_column(sa.Column("strategy", sa.String(), nullable=False, server_default="auto"))
        job.add_column(sa.Column("timeout_sec", sa.Integer(), nullable=True))
    with op.batch_alter_table("job") as job:
        job.alter_column("strategy", server_default=None)


def downgrade() -> None:
    """Undo."""
    op.drop_column("job", "timeout_sec")
    op.drop_column("job", "strategy")
