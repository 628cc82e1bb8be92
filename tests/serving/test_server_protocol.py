"""What a server may answer: failures in order, binary tensors, configurations, nonsense."""

from __future__ import annotations

import json
import time
from collections import deque
from typing import Any

import numpy as np
import pytest
import tiny_artifacts
from fake_triton import FakeTriton, fake_triton
from google.protobuf.json_format import MessageToDict
from serving_models import twice
from voxport.export.triton.config import Serving, ServingDevice, model_config
from voxport.runtime import ArtifactError, OutOfMemoryError, VoxportError
from voxport.runtime.devices import plan_device
from voxport.runtime.environment import client_environment
from voxport.runtime.errors import ServerError
from voxport.runtime.options import Options
from voxport.runtime.serving import retries
from voxport.runtime.serving.session import ServerSession

ROW = tiny_artifacts.row(*twice())
X = np.random.default_rng(0).standard_normal((2, 3)).astype(np.float32) ** 9


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_DELAY_S", 0.01)


def opened(fake: FakeTriton, **options: Any) -> ServerSession:
    chosen = Options(**{"request_timeout_s": 5.0, **options})
    return ServerSession(ROW, plan_device(fake.device, client_environment()), chosen)


@pytest.mark.parametrize("statuses", [(503,), (502, 504), (429, 503, 503), (404,), (0,), (0, 503)])
def test_failures_that_pass_are_tried_again(statuses: tuple[int, ...]) -> None:
    with fake_triton() as fake, opened(fake) as session:
        fake.failures = deque((status, "come back later") for status in statuses)
        assert np.array_equal(session.run(x=X)["y"], 2 * X)
        assert len(fake.inferences) == len(statuses) + 1
        assert len(set(fake.inferences)) == 1


@pytest.mark.parametrize(
    "words",
    [
        "Request for unknown model: 'twice' has no available versions",
        "Model twice is not ready yet.",
    ],
)
def test_a_model_that_comes_back_is_waited_for(words: str) -> None:
    with fake_triton(failures=deque([(400, words)])) as fake, opened(fake) as session:
        assert np.array_equal(session.run(x=X)["y"], 2 * X)


def test_too_many_failures_are_an_error() -> None:
    with fake_triton() as fake, opened(fake, request_retries=2) as session:
        fake.failures = deque([(503, "busy")] * 3)
        with pytest.raises(ServerError, match=r"model twice: 503: busy \(3 tries in .*now 2"):
            session.run(x=X)
        assert np.array_equal(session.run(x=X)["y"], 2 * X)


@pytest.mark.parametrize(("status", "message"), [(400, "bad input"), (500, "broken"), (401, "who")])
def test_what_would_fail_again_is_not_tried_again(status: int, message: str) -> None:
    with fake_triton(failures=deque([(status, message)])) as fake, opened(fake) as session:
        with pytest.raises(ServerError, match=f"model twice: {status}: {message}"):
            session.run(x=X)
        assert len(fake.inferences) == 1


def test_a_server_out_of_memory() -> None:
    message = "CUDA error: Failed to allocate memory for requested buffer"
    with fake_triton(failures=deque([(500, message)])) as fake, opened(fake) as session:
        with pytest.raises(OutOfMemoryError, match="Failed to allocate memory"):
            session.run(x=X)
        fake.failures = deque([(503, message)])
        found = [each["y"] for each in session.run_batched([X[0]] * 8)]
        assert session.batch_size == 4
        assert np.array_equal(found, [2 * X[0]] * 8)


def test_no_retries() -> None:
    with fake_triton(failures=deque([(503, "busy")])) as fake:
        with opened(fake, request_retries=0) as session, pytest.raises(ServerError, match="busy"):
            session.run(x=X)
        assert len(fake.inferences) == 1


@pytest.mark.parametrize("binary", [False, True])
def test_tensors_as_text_and_as_bytes(binary: bool) -> None:
    extensions = ["binary_tensor_data"] if binary else []
    with fake_triton(extensions=extensions) as fake, opened(fake) as session:
        assert np.array_equal(session.run(x=X)["y"], 2 * X)
        (body,) = fake.inferences
        assert body.endswith(X.tobytes()) == binary
        if not binary:
            assert json.loads(body)["inputs"][0]["data"] == X.ravel().tolist()


def test_the_largest_batch_of_the_server() -> None:
    config = {"max_batch_size": 3}
    with fake_triton(extensions=["model_configuration"], config=config) as fake:
        with opened(fake) as session:
            assert session.batch_size == 3
            assert session.use_batch_size(64).batch_size == 3
            assert len(list(session.run_batched([X[0]] * 7))) == 7
        sizes = [json.loads(body)["inputs"][0]["shape"][0] for body in fake.inferences]
        assert sorted(sizes) == [1, 3, 3]


def test_the_file_that_the_server_claims_to_run() -> None:
    told = {"parameters": {"voxport_sha256": {"string_value": "0" * 64}}}
    with (
        fake_triton(extensions=["model_configuration"], config=told) as fake,
        pytest.raises(ArtifactError, match=f"SHA-256 {'0' * 64}, but {ROW.sha256} was verified"),
    ):
        opened(fake)
    told["parameters"]["voxport_sha256"]["string_value"] = ROW.sha256
    with fake_triton(extensions=["model_configuration"], config=told) as fake, opened(fake):
        pass


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_an_exported_configuration_is_accepted(device: ServingDevice) -> None:
    """What `voxport export --triton` writes, told as Triton tells it."""
    config = MessageToDict(model_config(ROW, Serving(device)), preserving_proto_field_name=True)
    most = config["max_batch_size"]
    with fake_triton(extensions=["model_configuration"], config=config) as fake:
        fake.shape = [-1, *config["input"][0]["dims"]]
        with opened(fake) as session:
            assert session.batch_size == 8
            assert session.use_batch_size(1000).batch_size == most


def test_a_model_that_is_being_loaded_is_waited_for() -> None:
    # Two answers to each question: the model is not ready, and neither is the server.
    with fake_triton(absences=4) as fake, opened(fake) as session:
        assert np.array_equal(session.run(x=X)["y"], 2 * X)


def test_a_model_that_is_never_ready() -> None:
    begun = time.monotonic()
    with (
        fake_triton(absences=10**6) as fake,
        pytest.raises(ServerError, match=r"model twice was not ready within 1 s"),
    ):
        opened(fake, request_timeout_s=1.0)
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"name": "z"}, "its answer lacks y"),
        ({"datatype": "FP64"}, r"float64\[2, 3\] for y: float32\[batch, 3\]"),
        ({"shape": [3, 2]}, r"float32\[3, 2\] for y"),
        ({"shape": [1, 3], "data": [0, 0, 0]}, r"float32\[1, 3\] for y"),
        ({"shape": [2, 3], "data": [0]}, "its answer cannot be read"),
        ({"data": "nonsense"}, "its answer cannot be read"),
        ({"datatype": "FP8"}, "its answer cannot be read|for y: float32"),
    ],
)
def test_answers_that_are_none(answer: dict[str, Any], message: str) -> None:
    with fake_triton(answer=answer) as fake, opened(fake) as session:
        with pytest.raises(VoxportError, match=message):
            session.run(x=X)
        assert len(fake.inferences) == 1


def test_an_answer_that_is_no_json() -> None:
    with fake_triton(failures=deque([(-1, "<html>")])) as fake, opened(fake) as session:
        with pytest.raises(ServerError, match="its answer cannot be read"):
            session.run(x=X)
        assert np.array_equal(session.run(x=X)["y"], 2 * X)


def test_what_is_no_inference_server() -> None:
    with fake_triton() as fake:
        fake.told = lambda _: None  # type: ignore[method-assign]
        with pytest.raises(ServerError, match="model twice: 400: no"):
            opened(fake)
