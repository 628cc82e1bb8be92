"""A real KServe v2 server instead of a local session: the same arrays, and clear errors."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_artifacts
from hypothesis import given, settings
from hypothesis import strategies as st
from kserve_server import KServeServer
from serving_models import HASTY, kinds, twice
from voxport.runtime import (
    ArtifactError,
    ArtifactRow,
    DeviceError,
    InputError,
    OutOfMemoryError,
    SessionClosedError,
    VoxportError,
    load,
)
from voxport.runtime.cli import main
from voxport.runtime.devices import plan_device
from voxport.runtime.environment import client_environment
from voxport.runtime.errors import ServerError
from voxport.runtime.onnx_session import OnnxSession
from voxport.runtime.options import Options
from voxport.runtime.serving.session import ServerSession


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)


def tiny_row(name: str) -> ArtifactRow:
    return tiny_artifacts.row(*twice(name))


def test_a_server_gives_the_same_arrays(models: Path, local_models: Path, device: str) -> None:
    with load("linear", models=models, device=device) as remote:
        assert (remote.device, remote.plan.kind) == (device, "triton")
        assert remote.plan.strict
        with load("linear", models=local_models, device="cpu") as local:
            assert remote.identity == local.identity
            assert remote.description == local.description
            for rows in (2, 3, 1000):
                x = numbers(rows, 3)
                (found,), (expected,) = (each.run(x=x).values() for each in (remote, local))
                assert found.dtype == expected.dtype
                assert np.array_equal(found, expected)
                found += 1  # the caller's own


def test_every_dtype_travels_unchanged(device: str) -> None:
    described, content = kinds()
    row = tiny_artifacts.row(described, content)
    numbers_ = np.random.default_rng(0)
    inputs = {
        # Numbers that decimal digits might round, or a float of 64 bits not hold.
        "float32s": numbers_.standard_normal((3, 5)).astype(np.float32) ** 9,
        "int64s": numbers_.integers(-(2**62), 2**62, (3, 5)),
        "int32s": numbers_.integers(-(2**31) + 1, 2**31, (3, 5), dtype=np.int32),
        "bools": numbers_.random((3, 5)) < 0.5,
    }
    plan = plan_device(device, client_environment())
    with ServerSession(row, plan) as remote, OnnxSession(content, "kinds") as local:
        found, expected = remote.run(**inputs), local.run(**inputs)
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name], array)


def test_threads_share_a_session(models: Path, device: str) -> None:
    with load("linear", models=models, device=device) as session, ThreadPoolExecutor(8) as pool:
        many = [numbers(2 + index, 3) for index in range(40)]
        found = list(pool.map(lambda x: session.run(x=x)["y"], many))
    with OnnxSession(tiny_artifacts.linear()[1], "linear") as local:
        for x, y in zip(many, found, strict=True):
            assert np.array_equal(y, local.run(x=x)["y"])


@settings(max_examples=15)
@given(count=st.integers(0, 30), batch_size=st.integers(1, 9), grpc=st.booleans())
def test_batches_keep_their_order(
    models: Path, server: KServeServer, count: int, batch_size: int, grpc: bool
) -> None:
    items = [np.full(3, index, np.float32) for index in range(count)]
    device = server.grpc if grpc else server.http
    with load("twice", models=models, device=device) as session:
        found = [each["y"] for each in session.run_batched(items, batch_size=batch_size)]
    assert np.array_equal(np.reshape(found, (count, 3)), np.reshape(items, (count, 3)) * 2)


def test_requests_overlap(device: str) -> None:
    with ServerSession(tiny_row("slow"), plan_device(device, client_environment())) as session:
        assert session.concurrency == 4
        begun = time.monotonic()
        outputs = list(session.run_batched([np.ones(3, np.float32)] * 4, batch_size=1))
        elapsed_s = time.monotonic() - begun
    assert len(outputs) == 4
    # Four times 2 s, one after the other, would be 8.
    assert elapsed_s < 6


def test_the_batch_size(models: Path, device: str) -> None:
    with load("twice", models=models, device=device) as session:
        assert session.batch_size == 8
    options = Options(batch_buckets=(2, 4))
    with load("twice", models=models, device=device, options=options) as session:
        assert session.batch_size == 4


def test_memory_that_does_not_suffice_halves_the_batch(
    server: KServeServer, caplog: pytest.LogCaptureFixture
) -> None:
    plan = plan_device(server.grpc, client_environment())
    with ServerSession(tiny_row("full"), plan, HASTY) as session:
        with pytest.raises(OutOfMemoryError, match="out of memory"):
            session.run(x=numbers(5, 3))
        items = list(numbers(20, 3))
        found = [each["y"] for each in session.run_batched(items)]
        assert np.array_equal(found, 2 * np.array(items))
        assert session.batch_size == 4
    assert "going on with batches of 4, not 8" in caplog.text


# What is refused


def test_another_file_under_the_right_name_is_found_out(models: Path, device: str) -> None:
    with pytest.raises(DeviceError, match=r"swapped fp32 on triton.*wrong answers") as caught:
        load("swapped", models=models, device=device)
    assert "another file under this name" in str(caught.value)


def test_a_model_of_other_tensors(models: Path, device: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        load("reshaped", models=models, device=device)
    assert str(caught.value).startswith(
        f"{device}, model reshaped has the outputs y: FP32[-1, 3], but reshaped fp32 has "
        "y: FP32[-1, 2]: the server has another model of this name"
    )


def test_a_model_of_another_dtype(device: str) -> None:
    described, content = kinds()
    (first, *others) = described.inputs
    changed = replace(described, inputs=(replace(first, dtype="int32"), *others))
    row = tiny_artifacts.row(changed, content)
    with pytest.raises(ArtifactError, match=r"float32s: FP32\[-1, -1\].*float32s: INT32\[-1, -1\]"):
        ServerSession(row, plan_device(device, client_environment()))


def test_a_model_that_is_not_there(models: Path, device: str) -> None:
    with pytest.raises(ArtifactError, match=r"has no model absent.*export --triton"):
        load("absent", models=models, device=device)


def test_precisions_have_models_of_their_own(device: str) -> None:
    described, content = tiny_artifacts.linear("linear", "fp16")
    row = tiny_artifacts.row(described, content)
    with ServerSession(row, plan_device(device, client_environment())) as session:
        assert session.model == "linear_fp16"
        assert session.run(x=np.ones((2, 3), np.float32))["y"].tolist() == [[9, 12], [9, 12]]


def test_nobody_answers(models: Path) -> None:
    begun = time.monotonic()
    for device in ("triton://127.0.0.1:1", "triton+http://127.0.0.1:1"):
        with pytest.raises(ServerError) as caught:
            load("linear", models=models, device=device, options=HASTY)
        assert str(caught.value).startswith(f"{device}, model linear: ")
        assert "refused" in str(caught.value)
        assert "Is the server up" in str(caught.value)
    assert time.monotonic() - begun < 10


def test_a_fallback_runs_here(local_models: Path, caplog: pytest.LogCaptureFixture) -> None:
    device = "triton://127.0.0.1:1"
    with load("linear", models=local_models, device=device, fallback=True, options=HASTY) as loaded:
        assert loaded.device == "cpu"
        assert loaded.plan.is_fallback
    assert "runs on cpu instead of triton://127.0.0.1:1: " in caplog.text


def test_a_request_that_takes_too_long(device: str) -> None:
    plan = plan_device(device, client_environment())
    options = Options(request_timeout_s=0.5, request_retries=5)
    with ServerSession(tiny_row("slow"), plan, options) as session:
        begun = time.monotonic()
        with pytest.raises(ServerError, match=r"2 tries in .*request_timeout_s, now 0\.5"):
            session.run(x=numbers(1, 3))
        assert time.monotonic() - begun < 5


def test_what_the_graph_refuses_is_not_tried_again(models: Path, device: str) -> None:
    with load("reshaping", models=models, device=device) as session:
        assert session.run(x=np.ones(8, np.float32))["y"].shape == (2, 4)
        with pytest.raises(VoxportError, match=r"reshaping failed on .*\(7,\)") as caught:
            session.run(x=np.ones(7, np.float32))
        assert "tries" not in str(caught.value)
        with pytest.raises(InputError, match="expected x: float32"):
            session.run(x=np.ones(8))


def test_closing_ends_what_is_under_way(device: str) -> None:
    session = ServerSession(tiny_row("slow"), plan_device(device, client_environment()))
    errors: list[Exception] = []

    def run() -> None:
        try:
            session.run(x=numbers(1, 3))
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    time.sleep(0.5)
    session.close()
    session.close()
    thread.join(10)
    assert not thread.is_alive()
    # Over HTTP the answer may still arrive: nothing interrupts its thread.
    assert all(isinstance(error, SessionClosedError) for error in errors)
    with pytest.raises(SessionClosedError):
        session.run(x=numbers(1, 3))
    deadline = time.monotonic() + 10
    while any(each.name.startswith("voxport-") for each in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_files_are_not_served(local_models: Path) -> None:
    path = local_models / "linear.fp32.onnx"
    with pytest.raises(DeviceError, match="a server runs artifacts by their names, not files"):
        load(path, device="triton://127.0.0.1:1")


def test_a_server_has_no_profile_of_operators(
    models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = time.monotonic()
    arguments = ["linear", "--models", str(models), "--device", "triton://127.0.0.1:1"]
    assert main(["profile", *arguments]) != 0
    assert "a server's operators cannot be profiled from here" in capsys.readouterr().err
    assert time.monotonic() - begun < 10  # nobody was asked


def test_a_client_needs_neither_onnx_runtime_nor_files(models: Path, server: KServeServer) -> None:
    code = (
        "import sys\n"
        "sys.modules['onnxruntime'] = None  # as if it were not installed\n"
        "import numpy as np\n"
        "from voxport.runtime import load\n"
        f"with load('linear', models={str(models)!r}, device={server.grpc!r}) as session:\n"
        "    print(session.run(x=np.ones((2, 3), np.float32))['y'].tolist())\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert run.stdout == "[[9.0, 12.0], [9.0, 12.0]]\n", run.stderr
