"""A job keeps which import it made: its later stages don't ask again what the model's name means"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply: a job that is under way asks once more."""
    with op.batch_alter_table("job") as job:
        job.add_column(sa.Column("import_key", sa.String(), nullable=False, server_default=""))
    with op.batch_alter_table("job") as job:
        job.alter_column("import_key", server_default=None)


def downgrade() -> None:
    """Undo."""
    with op.batch_alter_table("job") as job:
        job.drop_column("import_key")
