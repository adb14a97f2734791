"""Is the service that answers the one of this data directory? Another may listen where it did, or by default."""

from __future__ import annotations

from tuner.client.http import Client
from tuner.config import Settings
from tuner.errors import ServiceUnreachable
from tuner.ownership import id_if_known


def check_is_own(settings: Settings, client: Client) -> None:
    """Raises ServiceUnreachable when it is another's; one who has no data directory here takes whoever answers."""
    own = id_if_known(settings)
    if own and client.service_id() != own:
        raise ServiceUnreachable(
            f"The service at {client.url} is not that of {settings.root}, which does not run.",
            f"Start it: `tunesmith serve --data-dir {settings.root}`; or name the other one with --url {client.url}.",
        )
