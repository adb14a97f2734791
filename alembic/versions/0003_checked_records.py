"""Records say whether what they compute was checked"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply: of the records that are there nobody knows; each is checked before it is compiled again."""
    with op.batch_alter_table("record") as record:
        record.add_column(sa.Column("checked", sa.Boolean(), nullable=False, server_default=sa.false()))
    with op.batch_alter_table("record") as record:
        record.alter_column("checked", server_default=None)


def downgrade() -> None:
    """Undo."""
    with op.batch_alter_table("record") as record:
        record.drop_column("checked")
