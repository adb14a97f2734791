"""TVM's RPC runs any code for whoever reaches it, in plain text: it stays on this machine unless told otherwise."""

from __future__ import annotations

import ipaddress

from rpc.errors import UnsafeAddress


def is_loopback(host: str) -> bool:
    """Does this host name or address mean this machine only? Names other than localhost are not looked up."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_loopback(tracker_host: str, listen_host: str) -> None:
    """Refuse a tracker elsewhere, and sessions from elsewhere.

    Raises:
        UnsafeAddress: names the address and the flag that allows it.
    """
    hint = "Use an SSH tunnel (docs/mac.md), or --allow-remote-tracker in a network where you trust everybody."
    if not is_loopback(tracker_host):
        raise UnsafeAddress(
            f"The tracker at {tracker_host} is not on this machine, and whoever it lets in could run any code here.",
            hint,
        )
    if not is_loopback(listen_host):
        raise UnsafeAddress(f"Listening on {listen_host} would let anybody who reaches it run any code here.", hint)
