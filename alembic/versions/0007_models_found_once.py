"""Jobs keep what their model was found to be: source, snapshot of its files, import"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply: a job that runs when the schema changes has its model looked for once more."""
    with op.batch_alter_table("job") as job:
        job.add_column(sa.Column("source_json", sa.JSON(), nullable=False, server_default="{}"))
        job.add_column(sa.Column("snapshot", sa.String(), nullable=True))
        job.add_column(sa.Column("import_key", sa.String(), nullable=False, server_default=""))
    with op.batch_alter_table("job") as job:
        job.alter_column("source_json", server_default=None)
        job.alter_column("import_key", server_default=None)


def downgrade() -> None:
    """Undo."""
    with op.batch_alter_table("job") as job:
        job.drop_column("import_key")
        job.drop_column("snapshot")
        job.drop_column("source_json")
