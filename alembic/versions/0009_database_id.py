"""The database has an id, which the files it makes carry"""

from __future__ import annotations

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply: this database gets its id, for good."""
    identity = op.create_table(
        "identity", sa.Column("id", sa.String(), nullable=False), sa.PrimaryKeyConstraint("id", name="pk_identity")
    )
    op.bulk_insert(identity, [{"id": secrets.token_hex(16)}])


def downgrade() -> None:
    """Undo."""
    op.drop_table("identity")
