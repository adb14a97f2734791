"""What is pasted fits how the service is reached."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from api.agent_lines import lines
from api.agent_wheel import Wheel

WHEEL = Wheel("tunesmith-1.0+agent.g0-py3-none-any.whl", "5ha")


def commands(url: str, tracker: tuple[str, int] = ("127.0.0.1", 9190), asks_for_token: bool = True) -> list[str]:
    """The lines that a shell does not take for comments."""
    return [line for line in told(url, tracker, asks_for_token) if not line.startswith("#")]


def told(url: str, tracker: tuple[str, int] = ("127.0.0.1", 9190), asks_for_token: bool = True) -> list[str]:
    return lines(urlsplit(url), WHEEL, tracker, asks_for_token).splitlines()


def test_behind_a_tunnel_pip_shows_the_token_and_the_agent_keeps_to_the_tunnels_ports() -> None:
    install, join = commands("http://127.0.0.1:8000/", ("127.0.0.1", 9195))
    assert install == f'python3 -m pip install "http://token:$TUNER_TOKEN@127.0.0.1:8000/agent/{WHEEL.name}#sha256=5ha"'
    assert join == "tunesmith agent --tracker 127.0.0.1:9195 --port 9091"
    (tunnel,) = [line for line in told("http://127.0.0.1:8000/", ("127.0.0.1", 9195)) if "ssh -N" in line]
    for part in ("-L 8000:127.0.0.1:8000", "-L 9195:127.0.0.1:9195", "-R 127.0.0.1:9091:127.0.0.1:9091"):
        assert part in tunnel


def test_a_service_that_asks_for_no_token_is_shown_none() -> None:
    assert "TUNER_TOKEN" not in "\n".join(told("http://127.0.0.1:8000/", asks_for_token=False))


def test_a_web_process_that_is_reached_by_its_name_needs_no_tunnel_of_its_own() -> None:
    page = told("https://tune.example/")
    assert any("https://token:$TUNER_TOKEN@tune.example/agent/" in line for line in page)
    (tunnel,) = [line for line in page if "ssh -N" in line]
    assert "-L 443" not in tunnel


@pytest.mark.parametrize(
    ("url", "place"), [("http://tune.example:8000/", "tune.example:9190"), ("http://[fd00::1]:8000/", "[fd00::1]:9190")]
)
def test_an_open_tracker_is_named_as_the_service_was(url: str, place: str) -> None:
    _, join = commands(url, ("0.0.0.0", 9190))
    assert join == f"tunesmith agent --tracker {place} --host 0.0.0.0 --allow-remote-tracker"
    assert not any("ssh" in line for line in told(url, ("0.0.0.0", 9190)))


def test_what_somebody_put_before_the_host_is_not_pasted() -> None:
    assert "$(" not in "\n".join(told("http://$(x)@127.0.0.1:8000/"))
