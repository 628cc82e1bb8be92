"""The batch size that is fastest: chosen by a clock that is made up, remembered in a file."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
from environments import ENVIRONMENTS, GIB
from fake_session import DOUBLING, FakeSession
from tiny_artifacts import linear
from voxport.runtime import InputError, OutOfMemoryError, plan_device, tune, tuning
from voxport.runtime.batching import BatchPlan
from voxport.runtime.cuda import Card
from voxport.runtime.environment import Environment
from voxport.runtime.onnx_session import OnnxSession
from voxport.runtime.tuning import remembered_batch_size

CARD = ENVIRONMENTS["card"]
ON_CARD = plan_device("cuda", CARD)
ON_SECOND = plan_device("cuda:1", ENVIRONMENTS["two cards"])


class Clock:
    """``time.perf_counter`` that calls move on; each takes ``seconds(size)``."""

    def __init__(self, seconds: Callable[[int], float]) -> None:
        self.now_s, self._seconds = 0.0, seconds

    def call(self, size: int) -> None:
        self.now_s += self._seconds(size)

    def perf_counter(self) -> float:
        return self.now_s


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that remembers; there is no such file yet."""
    monkeypatch.setenv("VOXPORT_CACHE", str(tmp_path / "cache"))
    use(monkeypatch, CARD)
    return tmp_path / "cache" / "batch-sizes.json"


def use(monkeypatch: pytest.MonkeyPatch, environment: Environment) -> None:
    monkeypatch.setattr(tuning, "known_environment", lambda: environment)


def timed(
    monkeypatch: pytest.MonkeyPatch, seconds: Callable[[int], float], **choices: Any
) -> FakeSession:
    """A session whose calls take that long."""
    clock = Clock(seconds)
    monkeypatch.setattr(tuning, "time", clock)
    return FakeSession(on_call=clock.call, **choices)


def by_item(**seconds: float) -> Callable[[int], float]:
    """Seconds per item as ``_8=0.5``; times the batch, seconds per call."""
    return lambda size: size * seconds[f"_{size}"]


# Choosing


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [
        ({"_1": 4.0, "_2": 3.0, "_4": 2.0, "_8": 1.0}, 8),
        ({"_1": 1.0, "_2": 2.0, "_4": 3.0, "_8": 4.0}, 1),
        ({"_1": 4.0, "_2": 1.0, "_4": 2.0, "_8": 3.0}, 2),
        # Within 5 % of the fastest the smallest is enough.
        ({"_1": 4.0, "_2": 1.04, "_4": 1.02, "_8": 1.0}, 2),
        ({"_1": 4.0, "_2": 1.06, "_4": 1.04, "_8": 1.0}, 4),
        ({"_1": 1.0, "_2": 1.0, "_4": 1.0, "_8": 1.0}, 1),
    ],
)
def test_the_smallest_of_the_fastest_is_chosen(
    seconds: dict[str, float], chosen: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = timed(monkeypatch, by_item(**seconds))
    found = tune(session, (1, 2, 4, 8))
    assert (found.batch_size, session.batch_size) == (chosen, chosen)
    assert found.seconds_per_item == pytest.approx(
        {int(name[1:]): value for name, value in seconds.items()}
    )


def test_the_first_call_and_an_outlier_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    durations = iter([99.0, 1.0, 50.0, 1.0, 99.0, 2.5, 2.5, 0.1])
    session = timed(monkeypatch, lambda _: next(durations))
    assert tune(session, (1, 2)).seconds_per_item == {1: 1.0, 2: 1.25}
    assert session.batch_size == 1


def test_candidates_are_tried_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    session = timed(monkeypatch, lambda _: 1.0)
    tune(session, (4, 1, 2))
    assert session.sizes == [1] * 4 + [2] * 4 + [4] * 4
    session.sizes.clear()
    tune(session)
    assert sorted(set(session.sizes)) == [1, 2, 4, 8, 16, 32, 64, 128]


def test_out_of_memory_ends_the_search(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "voxport")
    session = timed(monkeypatch, lambda _: 1.0, fits=5)
    assert set(tune(session).seconds_per_item) == {1, 2, 4}
    assert session.batch_size == 4
    assert max(session.sizes) == 8
    assert caplog.messages == ["doubling: a batch of 8 does not fit"]


def test_not_even_one_fits(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    session = timed(monkeypatch, lambda _: 1.0, fits=0)
    with pytest.raises(OutOfMemoryError):
        tune(session)
    assert not cache.exists()


def test_buckets_and_fixed_sizes_are_the_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    session = timed(monkeypatch, lambda _: 1.0, batch=BatchPlan(4, (2, 4, 32)))
    assert set(tune(session).seconds_per_item) == {2, 4, 32}
    assert session.batch_size == 32
    fixed = replace(DOUBLING, sizes={"batch": (32, 1)})
    session = timed(monkeypatch, lambda _: 1.0, description=fixed, identity="fixed")
    assert tune(session, (5, 7)).batch_size == 32
    assert remembered_batch_size(session) == 32


def test_what_has_no_batch_axis() -> None:
    with pytest.raises(InputError, match="nothing can be batched"):
        tune(OnnxSession(linear()[1], "net.onnx"))


# Remembering


def tuned(monkeypatch: pytest.MonkeyPatch, chosen: int, **choices: Any) -> FakeSession:
    session = timed(monkeypatch, lambda size: 1.0 if size == chosen else 1000.0, **choices)
    assert tune(session, (1, 2, 4, chosen)).batch_size == chosen
    return session


def test_later_sessions_remember(monkeypatch: pytest.MonkeyPatch) -> None:
    assert remembered_batch_size(FakeSession()) is None
    tuned(monkeypatch, 16)
    assert remembered_batch_size(FakeSession()) == 16
    tuned(monkeypatch, 256)
    assert remembered_batch_size(FakeSession()) == 256


def test_artifacts_devices_and_versions_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    tuned(monkeypatch, 16)
    tuned(monkeypatch, 32, plan=ON_CARD)
    tuned(monkeypatch, 64, identity="def")
    assert remembered_batch_size(FakeSession()) == 16
    assert remembered_batch_size(FakeSession(plan=ON_CARD)) == 32
    assert remembered_batch_size(FakeSession(identity="def")) == 64
    assert remembered_batch_size(FakeSession(identity="ghi")) is None
    use(monkeypatch, ENVIRONMENTS["two cards"])
    assert remembered_batch_size(FakeSession(plan=ON_SECOND)) is None
    monkeypatch.setattr(onnxruntime, "__version__", "9.9")
    assert remembered_batch_size(FakeSession()) is None
    assert remembered_batch_size(FakeSession(plan=ON_CARD)) is None


def test_another_card_in_its_place_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    tuned(monkeypatch, 32, plan=ON_CARD)
    other = replace(CARD.cuda, cards=(Card(0, "NVIDIA T4", 15 * GIB),))
    use(monkeypatch, replace(CARD, cuda=other))
    assert remembered_batch_size(FakeSession(plan=ON_CARD)) is None
    use(monkeypatch, CARD)
    assert remembered_batch_size(FakeSession(plan=ON_CARD)) == 32


def test_a_size_that_the_artifact_does_not_take_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    tuned(monkeypatch, 16)
    fixed = FakeSession(replace(DOUBLING, sizes={"batch": (1, 32)}))
    assert remembered_batch_size(fixed) is None


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'"text"', b"\xff\xfe", b"[" * 100_000]
)
def test_a_damaged_file_is_ignored_and_replaced(
    content: bytes, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.parent.mkdir()
    cache.write_bytes(content)
    assert remembered_batch_size(FakeSession()) is None
    tuned(monkeypatch, 16)
    assert remembered_batch_size(FakeSession()) == 16


@pytest.mark.parametrize("size", [0, -4, 10**9, 1.5, True, "16", None, [16]])
def test_damaged_sizes_are_ignored(size: Any, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tuned(monkeypatch, 16)
    (key,) = json.loads(cache.read_text(encoding="utf-8"))
    cache.write_text(json.dumps({key: size}), encoding="utf-8")
    assert remembered_batch_size(FakeSession()) is None


def test_the_file_keeps_what_others_found(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        tuned(monkeypatch, 8, identity=f"artifact-{number}")
    assert len(json.loads(cache.read_text(encoding="utf-8"))) == 3
    # Nothing but the file itself stays behind.
    assert list(cache.parent.iterdir()) == [cache]


def test_a_cache_that_cannot_be_written_is_a_warning(
    cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cache.parent.write_text("a file where the folder should be", encoding="utf-8")
    session = tuned(monkeypatch, 16)
    assert session.batch_size == 16
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("voxport", logging.WARNING)
    assert record.getMessage().startswith("the batch size is not remembered: ")
    assert remembered_batch_size(FakeSession()) is None


def test_without_a_home_folder(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("VOXPORT_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    assert remembered_batch_size(FakeSession()) is None
    tuned(monkeypatch, 16)
    assert "set VOXPORT_CACHE" in caplog.text


def test_threads_leave_a_file_that_can_be_read(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = [FakeSession(identity=f"artifact-{number}") for number in range(8)]
    monkeypatch.setattr(tuning, "time", Clock(lambda _: 1.0))
    threads = [threading.Thread(target=tune, args=(each, (1, 2))) for each in sessions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(value == 1 for value in json.loads(cache.read_text(encoding="utf-8")).values())
    assert list(cache.parent.iterdir()) == [cache]
