"""Addresses of services and of their pages, and what httpx makes of them. Pure."""

from __future__ import annotations

import ipaddress
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from tuner.errors import InvalidInput


def http_options(url: str, token: str | None, timeout_sec: float) -> dict[str, Any]:
    """What an httpx client of the service at ``url`` is made with. Raises InvalidInput when ``url`` is none."""
    try:
        return {
            "base_url": httpx.URL(url),
            "headers": {"Authorization": f"Bearer {token}"} if token else {},
            "timeout": timeout_sec,
            "trust_env": not is_loopback(url),  # a proxy from the environment can't reach this machine's own loopback
        }
    except (ValueError, httpx.InvalidURL) as error:
        hint = "Give one such as http://127.0.0.1:8000 with --url."
        raise InvalidInput(f"{url!r} is no address of a service: {error}.", hint) from error


def page_url(url: str, token: str | None, path: str = "/") -> str:
    """A page of the dashboard at ``url``; the service takes the token out of the address as soon as it is opened."""
    return url + path + (f"?token={quote(token, safe='')}" if token else "")


def is_loopback(url: str) -> bool:
    """Does the address name this very machine?"""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
