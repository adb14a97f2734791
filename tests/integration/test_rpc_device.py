"""The device survives what candidates, clients and trackers do to it, and a lease never waits past its deadline."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import tvm

from rpc import tracker
from rpc.errors import DeviceUnavailable, SessionLost
from rpc.handshake import MAGIC
from rpc.lease import lease
from rpc.session import tell_timeout
from rpc.supervisor import Supervisor
from tests.support.memory import in_huge_pages
from tests.support.processes import (
    ROOT,
    free_port,
    is_running,
    kill_hard,
    oom_score_adj,
    patience,
    python_code,
    running,
    stop_hard,
    wait_until,
    within,
)
from tests.support.rpc_device import HOST, agent_process, build_library, free, summary, tracker_process
from tuner.cli.serve import device_processes
from tuner.measuring.timing import Arguments

SIGSEGV = 11
ENOUGH_SEC = patience(10)  # to wait for the device, or for a session


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Of a tracker with one device that all tests of this file share."""
    number = free_port()
    with tracker_process(number):
        yield number


@pytest.fixture(scope="module")
def device(port: int) -> Iterator[subprocess.Popen[str]]:
    with agent_process(port) as process:
        yield process


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("libraries")
    return {
        "crash": build_library(folder / "crash.so", "raise", SIGSEGV),
        "hang": build_library(folder / "hang.so", "sleep", 1000),
        "good": build_library(folder / "good.so", "abs", 1),
    }


def run_kernel(session: Any, library: Path) -> None:
    session.upload(bytearray(library.read_bytes()), library.name)  # given a path, TVM leaves the file open
    kernel = session.load_module(library.name)["main"]
    kernel(tvm.runtime.tensor(np.ones(16, "float32"), session.cpu(0)))


def session_works(port: int, library: Path) -> bool:
    with lease(HOST, port, "local", ENOUGH_SEC, ENOUGH_SEC) as session:
        run_kernel(session, library)
    return True


def refusal(port: int, key: str, timeout_sec: float) -> str:
    """Why no device is had in so short a time. A machine that stands still for as long leaves none to find it out."""
    with (
        within(timeout_sec + 1),
        pytest.raises(DeviceUnavailable) as caught,
        lease(HOST, port, key, timeout_sec, ENOUGH_SEC),
    ):
        pytest.fail("leased")
    return str(caught.value)


def test_answers_of_the_tracker_are_not_held_back(port: int) -> None:
    """Where what is small waits until the peer has acknowledged what was sent before, each takes 40 ms at least."""

    def is_quick() -> bool:
        start = time.perf_counter()
        assert summary(port)
        return time.perf_counter() - start < 0.035

    wait_until(is_quick, 10, "a quick answer")


def test_a_device_loads_what_runs_kernels_and_nothing_that_makes_them() -> None:
    code = (
        "import sys; from rpc.lean import prepare_lean_import; from rpc.session import import_runtime\n"
        "prepare_lean_import(); import_runtime(); import tvm_ffi\n"
        "assert tvm_ffi.get_global_func('tvm.contrib.random.random_fill')\n"
        "makers = {'torch', 'tvm.ir', 'tvm.tirx', 'tvm.relax', 'tvm.rpc.client'}\n"
        "print(makers & {name for name, module in sys.modules.items() if module})"
    )
    done = subprocess.run(python_code(code), cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_segfaulting_candidate_costs_its_session_only(
    port: int, device: subprocess.Popen[str], libraries: dict[str, Path]
) -> None:
    with (
        pytest.raises(SessionLost, match="crashed") as caught,
        lease(HOST, port, "local", ENOUGH_SEC, ENOUGH_SEC) as session,
    ):
        run_kernel(session, libraries["crash"])
    assert not caught.value.timed_out
    wait_until(lambda: free(port), 5)
    assert session_works(port, libraries["good"])
    assert device.poll() is None


def test_hung_candidate_is_killed_at_the_sessions_deadline(
    port: int, device: subprocess.Popen[str], libraries: dict[str, Path]
) -> None:
    start = time.monotonic()
    with (
        pytest.raises(SessionLost, match="deadline of 1 s") as caught,
        lease(HOST, port, "local", ENOUGH_SEC, 1) as session,
    ):
        run_kernel(session, libraries["hang"])
    assert caught.value.timed_out
    assert 1 <= time.monotonic() - start < ENOUGH_SEC + patience(6)
    wait_until(lambda: free(port), 5)
    assert session_works(port, libraries["good"])


def test_error_of_a_remote_function_is_not_taken_for_a_lost_session(port: int, device: subprocess.Popen[str]) -> None:
    with (
        pytest.raises(tvm.error.RPCError, match="nowhere"),
        lease(HOST, port, "local", ENOUGH_SEC, ENOUGH_SEC) as session,
    ):
        session.load_module("nowhere.so")


def test_device_is_free_again_although_its_arrays_are_still_held(port: int, device: subprocess.Popen[str]) -> None:
    with lease(HOST, port, "local", ENOUGH_SEC, ENOUGH_SEC) as session:
        array = tvm.runtime.tensor(np.ones(16, "float32"), session.cpu(0))
        assert array.numpy().sum() == 16
    wait_until(lambda: free(port), 5)
    del array, session


def test_client_that_is_killed_gives_the_device_back(port: int, device: subprocess.Popen[str]) -> None:
    code = f"""
import time
from rpc.handshake import MAGIC
from rpc.lease import lease
with lease("{HOST}", {port}, "local", {ENOUGH_SEC}, 1000):
    print("leased", flush=True)
    time.sleep(1000)
"""
    with running(python_code(code)) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == "leased\n"
        assert free(port) == 0
        kill_hard(client.pid)
        wait_until(lambda: free(port), 5)


def test_unknown_key_fails_within_its_deadline_and_names_the_known_ones(
    port: int, device: subprocess.Popen[str]
) -> None:
    wait_until(lambda: re.search("'typo'.*known keys: local", refusal(port, "typo", 1)), 5, "the reason")
    assert "typo" not in (summary(port) or {})["queue_info"]


def test_unknown_key_does_not_use_up_a_long_deadline(port: int, device: subprocess.Popen[str]) -> None:
    with within(10), pytest.raises(DeviceUnavailable), lease(HOST, port, "typo", 600, 10):
        pytest.fail("leased")


def test_busy_device_fails_the_second_lease_in_its_deadline_and_leaves_no_request(
    port: int, device: subprocess.Popen[str], libraries: dict[str, Path]
) -> None:
    with lease(HOST, port, "local", ENOUGH_SEC, ENOUGH_SEC) as session:
        assert tracker.count_registered(summary(port) or {}, "local") == 1  # busy is still known
        wait_until(lambda: "busy" in refusal(port, "local", 0.5), 5, "the reason")
        assert (summary(port) or {})["queue_info"]["local"]["pending"] == 0
        run_kernel(session, libraries["good"])
    assert session_works(port, libraries["good"])


def test_nobody_at_the_trackers_address_fails_in_the_deadline() -> None:
    nobody = free_port()
    with pytest.raises(DeviceUnavailable, match=str(nobody)), lease(HOST, nobody, "local", 0.5, 10):
        pytest.fail("leased")


def test_device_facts_are_served_over_rpc_and_by_the_tracker(port: int, device: subprocess.Popen[str]) -> None:
    with lease(HOST, port, "local", ENOUGH_SEC, ENOUGH_SEC) as session:
        facts = json.loads(session.get_function("tunesmith.device_facts")())
    assert facts == tracker.registered(summary(port) or {})["local"][0]["facts"]
    assert facts["cores"] == facts["threads"] == psutil.cpu_count(logical=False)
    assert facts["mcpu"] == tvm.target.codegen.llvm_get_system_cpu()
    assert facts["memory_bytes"] == psutil.virtual_memory().total


def test_device_loads_no_torch_and_starts_no_thread(port: int, device: subprocess.Popen[str]) -> None:
    process = psutil.Process(device.pid)
    assert process.num_threads() == 1  # it forks
    assert not [m.path for m in process.memory_maps() if "libtorch" in m.path]


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="threads are bound on Linux only")
def test_a_session_computes_with_each_thread_on_a_core_of_its_own(
    port: int, device: subprocess.Popen[str], libraries: dict[str, Path]
) -> None:
    with lease(HOST, port, "local", ENOUGH_SEC, ENOUGH_SEC) as session:
        run_kernel(session, libraries["good"])
        (serving,) = psutil.Process(device.pid).children()
        cpus = [os.sched_getaffinity(thread.id) for thread in serving.threads()]
        assert oom_score_adj(serving.pid) == 500
    assert oom_score_adj(device.pid) == 0
    assert len(cpus) == psutil.cpu_count(logical=False)
    assert all(len(own) == 1 for own in cpus)
    assert len(set[int]().union(*cpus)) == len(cpus)


def test_strangers_at_the_devices_port_do_not_disturb_it(
    port: int, device: subprocess.Popen[str], libraries: dict[str, Path]
) -> None:
    wait_until(lambda: free(port), 5)
    address = tuple(tracker.registered(summary(port) or {})["local"][0]["addr"])
    with socket.create_connection(address) as http:
        http.sendall(b"GET / HTTP/1.1\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):  # either way of being turned away will do
            assert http.recv(100) == b""
    with socket.create_connection(address) as guesser:
        key = b"client:local:guess"
        guesser.sendall(struct.pack("<ii", MAGIC, len(key)) + key)
        assert tracker.receive_exactly(guesser, 4, time.monotonic() + ENOUGH_SEC) == struct.pack("<i", MAGIC + 2)
    assert session_works(port, libraries["good"])


def test_client_that_says_its_key_byte_by_byte_does_not_keep_the_device(
    port: int, device: subprocess.Popen[str], libraries: dict[str, Path]
) -> None:
    wait_until(lambda: free(port), 5)
    address = tuple(tracker.registered(summary(port) or {})["local"][0]["addr"])
    served = threading.Event()

    def trickle() -> None:
        with socket.create_connection(address) as slow, contextlib.suppress(OSError):
            slow.sendall(struct.pack("<ii", MAGIC, 4096))
            while not served.wait(0.5):
                slow.sendall(b"x")

    trickling = threading.Thread(target=trickle)
    trickling.start()
    try:
        assert session_works(port, libraries["good"])
    finally:
        served.set()
        trickling.join()


def test_client_that_takes_nothing_any_more_is_not_told_why_its_session_ended() -> None:
    with socket.create_server((HOST, 0)) as listener, socket.create_connection(listener.getsockname()) as stopped:
        connection, _ = listener.accept()
        with connection:
            connection.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    connection.send(bytes(65536))
            telling = threading.Thread(target=_tell, args=(connection,), daemon=True)
            telling.start()
            telling.join(ENOUGH_SEC)
            assert not telling.is_alive()
            assert stopped.fileno() >= 0


def _tell(connection: socket.socket) -> None:
    with contextlib.suppress(Exception):  # TVM raises its own kinds
        tell_timeout(connection, 1.0)


def test_client_that_asks_and_never_comes_does_not_keep_the_device(port: int, device: subprocess.Popen[str]) -> None:
    wait_until(lambda: free(port), 5)
    stop_hard(device.pid)  # or it might have offered itself again before we look
    with tracker.TrackerConnection(HOST, port, ENOUGH_SEC) as client:
        code, _ = client.call([tracker.REQUEST, "local", "", 1])
        assert code == tracker.SUCCESS
    assert free(port) == 0
    os.kill(device.pid, signal.SIGCONT)
    wait_until(lambda: free(port), 10)


def test_key_with_a_colon_is_turned_away_and_the_tracker_lives(port: int, device: subprocess.Popen[str]) -> None:
    for message in ([tracker.PUT, "a:b", [1, "a:b:0.5"], None], [tracker.REQUEST, "a:b", "", 1]):
        with tracker.TrackerConnection(HOST, port, ENOUGH_SEC) as client, pytest.raises(ConnectionError):
            client.call(message)
    assert tracker.count_registered(summary(port) or {}, "local") == 1
    assert "a:b" not in (summary(port) or {})["queue_info"]


def test_device_registers_again_after_the_tracker_was_killed(libraries: dict[str, Path]) -> None:
    port = free_port()
    with tracker_process(port) as first, agent_process(port):
        kill_hard(first.pid)
        first.wait()
        with tracker_process(port):
            wait_until(lambda: free(port), 5)
            assert session_works(port, libraries["good"])


def test_device_that_comes_back_later_than_its_tracker_is_waited_for(
    port: int, device: subprocess.Popen[str], libraries: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    answer = tracker.summary

    def just_back(*where: Any) -> tracker.Summary:
        asked.append(len(asked))
        if len(asked) < 4:
            raise ConnectionError("nobody is there")
        return {} if len(asked) == 4 else answer(*where)

    monkeypatch.setattr("rpc.lease._UNKNOWN_KEY_SEC", 0.3)
    monkeypatch.setattr(tracker, "summary", just_back)
    assert session_works(port, libraries["good"])


def test_tracker_killed_during_a_session_does_not_end_it(libraries: dict[str, Path]) -> None:
    port = free_port()
    with (
        tracker_process(port) as first,
        agent_process(port),
        lease(HOST, port, "local", ENOUGH_SEC, 2 * ENOUGH_SEC) as session,
    ):
        kill_hard(first.pid)
        first.wait()
        with tracker_process(port):
            wait_until(lambda: tracker.count_registered(summary(port) or {}, "local"), 5)
            assert free(port) == 0  # known, but not on offer while it serves
            run_kernel(session, libraries["good"])


def test_device_that_cannot_start_a_session_turns_clients_away_until_it_can(
    tmp_path: Path, libraries: dict[str, Path]
) -> None:
    port = free_port()
    with tracker_process(port), agent_process(port, "--work-dir", str(tmp_path / "work")) as agent:
        (folder,) = (tmp_path / "work").iterdir()
        folder.rename(tmp_path / "away")  # no place for a session's files
        with pytest.raises(DeviceUnavailable), lease(HOST, port, "local", 2, 10):
            pytest.fail("leased")
        (tmp_path / "away").rename(folder)
        assert session_works(port, libraries["good"])
        assert agent.poll() is None


@pytest.mark.skipif(not hasattr(psutil, "RLIMIT_NOFILE"), reason="limits of other processes are set on Linux only")
def test_device_without_a_free_descriptor_waits_for_one(libraries: dict[str, Path]) -> None:
    port = free_port()
    with tracker_process(port), agent_process(port) as agent:
        process = psutil.Process(agent.pid)
        soft, hard = process.rlimit(psutil.RLIMIT_NOFILE)
        process.rlimit(psutil.RLIMIT_NOFILE, (3, hard))  # what is open stays so
        with pytest.raises(DeviceUnavailable), lease(HOST, port, "local", 2, 10):
            pytest.fail("leased")
        process.rlimit(psutil.RLIMIT_NOFILE, (soft, hard))
        assert session_works(port, libraries["good"])
        assert agent.poll() is None


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_session_ends_with_its_device(tmp_path: Path, number: signal.Signals) -> None:
    port = free_port()
    with tracker_process(port), agent_process(port, "--work-dir", str(tmp_path / "work")) as agent:
        with pytest.raises(SessionLost), lease(HOST, port, "local", ENOUGH_SEC, 2 * ENOUGH_SEC) as session:  # noqa: PT012
            (child,) = psutil.Process(agent.pid).children()
            os.kill(agent.pid, number)
            wait_until(lambda: not is_running(child.pid), 5)
            session.get_function("tunesmith.device_facts")()
        wait_until(lambda: not tracker.count_registered(summary(port) or {}, "local"), 5, "the tracker's notice")
        with agent_process(port, "--work-dir", str(tmp_path / "work")):
            assert len(list((tmp_path / "work").iterdir())) == 1  # what a killed one left is gone


def test_what_a_killed_agent_left_among_temporary_files_goes_with_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    port = free_port()
    with tracker_process(port):
        with agent_process(port) as agent:
            (left,) = tmp_path.glob("tunesmith-*")
            kill_hard(agent.pid)
            agent.wait()
        assert left.is_dir()
        with agent_process(port):
            (ours,) = tmp_path.glob("tunesmith-*")
            assert ours != left


def test_stopped_device_fails_a_lease_in_its_deadline(port: int, device: subprocess.Popen[str]) -> None:
    wait_until(lambda: free(port), 5)
    os.kill(device.pid, signal.SIGSTOP)
    try:
        with within(3), pytest.raises(DeviceUnavailable), lease(HOST, port, "local", 0.5, 10):
            pytest.fail("leased")
    finally:
        os.kill(device.pid, signal.SIGCONT)
    wait_until(lambda: free(port), 15)


def test_device_that_must_not_fork_serves_and_survives_crashes_too(libraries: dict[str, Path]) -> None:
    port = free_port()
    with tracker_process(port), agent_process(port, "--start-method", "spawn"):
        with pytest.raises(SessionLost), lease(HOST, port, "local", ENOUGH_SEC, ENOUGH_SEC) as session:
            run_kernel(session, libraries["crash"])
        with lease(HOST, port, "local", ENOUGH_SEC, ENOUGH_SEC) as session:
            run_kernel(session, libraries["good"])


def test_own_device_takes_sessions_of_this_machine_only_when_the_tracker_is_for_all(tmp_path: Path) -> None:
    number = free_port()
    processes = device_processes("0.0.0.0", number, "local", 1, tmp_path / "device")
    supervisor = Supervisor(processes, tmp_path / "logs")
    try:
        supervisor.start()
        (found,) = tracker.registered(summary(number) or {})["local"]
        assert found["addr"][0] == HOST
        with lease("0.0.0.0", number, "local", ENOUGH_SEC, ENOUGH_SEC) as session:
            assert session.cpu(0).exist
    finally:
        supervisor.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux says of memory")
def test_weights_lie_in_huge_pages_as_an_artifacts_do(port: int, device: subprocess.Popen[str]) -> None:
    shapes = [((1 << 21,), "float32")]

    def asked() -> bool:
        return any(in_huge_pages(child.pid) for child in psutil.Process(device.pid).children(recursive=True))

    with lease(HOST, port, "local", ENOUGH_SEC, ENOUGH_SEC) as session:
        Arguments(session, session.cpu(0)).of(shapes)
        assert not asked()
        Arguments(session, session.cpu(0), as_loaded=True).of(shapes)
        assert asked()
