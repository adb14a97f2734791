"""Jobs that only compile"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply: jobs that are there tuned, and what the table gets from now on says for itself which kind it is."""
    with op.batch_alter_table("job") as job:
        job.add_column(sa.Column("compile_only", sa.Boolean(), nullable=False, server_default=sa.false()))
    with op.batch_alter_table("job") as job:
        job.alter_column("compile_only", server_default=None)


def downgrade() -> None:
    """Undo."""
    with op.batch_alter_table("job") as job:
        job.drop_column("compile_only")
