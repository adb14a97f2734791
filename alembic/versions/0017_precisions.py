"""A job says at which precision its model's products are computed"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply: all jobs there are compute in float32."""
    with op.batch_alter_table("job") as job:
        job.add_column(sa.Column("precision", sa.String(), nullable=False, server_default="fp32"))
    with op.batch_alter_table("job") as job:
        job.alter_column("precision", server_default=None)


def downgrade() -> None:
    """Undo."""
    with op.batch_alter_table("job") as job:
        job.drop_column("precision")
