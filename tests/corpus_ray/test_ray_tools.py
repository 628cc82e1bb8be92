"""What is said and counted of Ray, without a cluster."""

from __future__ import annotations

import functools
import signal
import sys
from collections.abc import Callable, Iterator

import pytest
import ray_works
from voxport.runtime.corpus.ray_actor import RayWorker
from voxport.runtime.corpus.ray_tools import _own_sigterm, first_line, import_ray, reason
from voxport.runtime.corpus.ray_workers import RayWorkers, _fits
from voxport.runtime.errors import MissingDependencyError, OptionsError, WorkersError

_DIED = """The actor died unexpectedly before finishing this task.
\tclass_name: RayWorker
\tactor_id: aa04897b1b107da210243fa601000000
\tpid: 29540
\tip: 10.0.0.7
The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit \
detail: Worker unexpectedly exits with a connection error code 2. End of file. Some common causes \
include: (1) the process was killed by the OOM killer due to high memory usage.
"""
_DEAD = (
    "its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: Worker "
    "unexpectedly exits with a connection error code 2. End of file (node 10.0.0.7)"
)
_UNAVAILABLE = (
    "The actor d8c3c23dc2b50b3dd2d464c302000000 is unavailable: The actor is temporarily "
    "unavailable: RpcError: RPC error: Socket closed rpc_code: 14. The task may or may not have "
    "been executed on the actor."
)
_UNREACHABLE = (
    "The actor is unavailable: The actor is temporarily unavailable: RpcError: RPC error: Socket "
    "closed rpc_code: 14"
)


class InitError(Exception):
    actor_init_failed = True


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (Exception(_DIED), _DEAD),
        (Exception(_UNAVAILABLE), _UNREACHABLE),
        (
            InitError("The actor died because of\n  File x.py\nModuleNotFoundError: No voxport\n"),
            "ModuleNotFoundError: No voxport",
        ),
        (Exception(), "Exception"),
    ],
)
def test_why_an_actor_is_lost(error: Exception, expected: str) -> None:
    assert reason(error) == expected


def test_the_first_line_of_an_error() -> None:
    assert first_line(ValueError("\nno such thing.\nmore")) == "no such thing"
    assert first_line(ValueError()) == "ValueError"


def test_without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'voxport\[ray\]'"):
        import_ray()


class TerminatedError(Exception):
    pass


def _terminated(*_: object) -> None:
    raise TerminatedError


@pytest.fixture
def _handler() -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, _terminated)
    yield
    signal.signal(signal.SIGTERM, before)


def _start_ray(then: Callable[[], None]) -> None:
    """As ``ray.init`` does."""
    with _own_sigterm():
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(number))
        then()


@pytest.mark.usefixtures("_handler")
def test_sigterm_while_ray_starts_is_the_callers() -> None:
    with pytest.raises(TerminatedError):
        _start_ray(lambda: signal.raise_signal(signal.SIGTERM))
    assert signal.getsignal(signal.SIGTERM) is _terminated


@pytest.mark.usefixtures("_handler")
@pytest.mark.parametrize("error", [ConnectionError("none"), SystemExit(1)])
def test_an_error_of_ray_leaves_the_handler(error: BaseException) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(type(error)):
        _start_ray(fail)
    assert signal.getsignal(signal.SIGTERM) is _terminated


@pytest.mark.parametrize(
    ("needs", "node", "expected"),
    [
        ({"CPU": 1.0, "GPU": 0.0}, {"CPU": 4.0}, 4),
        ({"CPU": 3.0, "GPU": 0.0}, {"CPU": 4.0}, 1),
        ({"CPU": 1.0, "GPU": 0.1}, {"CPU": 64.0, "GPU": 1.0}, 10),
        ({"CPU": 1.0, "GPU": 0.5}, {"CPU": 3.0, "GPU": 8.0}, 3),
        ({"CPU": 0.0, "GPU": 1.0}, {"CPU": 3.0, "GPU": 2.0}, 2),
        ({"CPU": 1.0, "GPU": 0.5}, {"CPU": 3.0}, 0),
        ({"CPU": 0.5, "GPU": 0.0}, {"memory": 1e9}, 0),
    ],
)
def test_workers_that_fit_on_a_node(
    needs: dict[str, float], node: dict[str, float], expected: int
) -> None:
    assert _fits(needs, node) == expected


@pytest.mark.parametrize(
    "known",
    [
        {"workers": 0},
        {"files_at_once": 0},
        {"cpus_per_worker": -1.0},
        {"cpus_per_worker": 0.0},
        {"gpus_per_worker": float("nan")},
        {"cpus_per_worker": float("inf")},
        {"gpus_per_worker": 1.5},
    ],
)
def test_figures_that_make_no_sense(known: dict[str, float]) -> None:
    with pytest.raises(OptionsError):
        RayWorkers(functools.partial(ray_works.obeying, "log"), **known)  # type: ignore[arg-type]


def test_a_worker_of_another_version_refuses() -> None:
    error = RayWorker(b"", "0.0.1", takes_gpus=True).start()
    assert isinstance(error, WorkersError)
    assert "has voxport " in str(error)
    assert "this machine 0.0.1: results would differ" in str(error)
