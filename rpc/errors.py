"""What can go wrong between us and a device. The service maps these to its own error tree."""

from __future__ import annotations


class RpcError(Exception):
    """Base of this package's errors; ``hint`` says what to do, with a command where there is one."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class DeviceUnavailable(RpcError):
    """No device with that key could be had within the deadline."""


class SessionLost(RpcError):
    """The device ended the session under us.

    ``timed_out`` tells a session that ran over its deadline from a device process that crashed.
    """

    def __init__(self, message: str, hint: str = "", timed_out: bool = False) -> None:
        super().__init__(message, hint)
        self.timed_out = timed_out


class WrongVersion(RpcError):
    """An installed package has a version that is known to break."""


class UnsafeAddress(RpcError):
    """An address beyond this machine, where nobody said that this is meant."""


class StartFailed(RpcError):
    """A supervised process did not come up."""
