"""Addresses of servers, what failures mean, and how long the next try is put off."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from voxport.runtime import DeviceError
from voxport.runtime.errors import MissingDependencyError
from voxport.runtime.serving import tools
from voxport.runtime.serving.address import is_server, parse_address
from voxport.runtime.serving.failures import Kind, broken, refusal
from voxport.runtime.serving.names import model_name
from voxport.runtime.serving.retries import delay_s


@pytest.mark.parametrize(
    ("request_", "found", "protocol", "encrypted"),
    [
        ("triton://localhost:9001", "triton://localhost:9001", "grpc", False),
        ("triton://localhost", "triton://localhost:8001", "grpc", False),
        ("triton://gpu-1.example.com:8001/", "triton://gpu-1.example.com:8001", "grpc", False),
        ("triton+http://10.0.0.7", "triton+http://10.0.0.7:8000", "http", False),
        ("triton+https://models:443", "triton+https://models:443", "http", True),
        ("triton+grpcs://my_host", "triton+grpcs://my_host:8001", "grpc", True),
        ("triton://[::1]:8001", "triton://[::1]:8001", "grpc", False),
        ("triton+http://[fe80::1]", "triton+http://[fe80::1]:8000", "http", False),
    ],
)
def test_addresses(request_: str, found: str, protocol: str, encrypted: bool) -> None:
    address = parse_address(request_)
    assert (str(address), address.protocol, address.encrypted) == (found, protocol, encrypted)
    assert parse_address(str(address)) == address
    assert is_server(request_)


@pytest.mark.parametrize(
    "request_",
    [
        *("triton://", "triton://:8001", "triton:///", "triton://host:", "triton://host:80x"),
        *("triton://host:0", "triton://host:65536", "triton://host:-1", "triton://ho st"),
        *("triton://user:password@host:8001", "triton://host/path", "triton://host?a=b"),
        *("triton://[::1", "triton://::1:8001", "triton://[1.2]", "triton://host\n:1"),
        *("Triton://host", "http://host:8000", "grpc://host", "tritons://host", "://host"),
    ],
)
def test_malformed_addresses(request_: str) -> None:
    with pytest.raises(DeviceError) as caught:
        parse_address(request_)
    assert repr(request_) in str(caught.value)


@given(st.text(max_size=30))
def test_any_text_is_an_address_or_an_error(text: str) -> None:
    try:
        address = parse_address(f"triton://{text}")
    except DeviceError:
        return
    assert 0 < address.port < 65536
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        ("StatusCode.UNAVAILABLE", "failed to connect to all addresses", Kind.TRANSIENT),
        ("StatusCode.RESOURCE_EXHAUSTED", "queue is full", Kind.TRANSIENT),
        (
            "StatusCode.RESOURCE_EXHAUSTED",
            "SERVER: Received message larger than max (7 vs. 4)",
            Kind.REFUSED,
        ),
        ("StatusCode.DEADLINE_EXCEEDED", "Deadline Exceeded", Kind.TIMEOUT),
        ("StatusCode.INVALID_ARGUMENT", "unexpected shape for input 'x'", Kind.REFUSED),
        ("StatusCode.INVALID_ARGUMENT", "Model x is not ready yet.", Kind.AWAY),
        ("StatusCode.NOT_FOUND", "Request for unknown model: 'x' is not found", Kind.AWAY),
        ("StatusCode.UNAVAILABLE", "unknown model: 'x' version 1 is not at ready state", Kind.AWAY),
        ("StatusCode.UNIMPLEMENTED", "Method not found!", Kind.REFUSED),
        ("503", "busy", Kind.TRANSIENT),
        ("429", "", Kind.TRANSIENT),
        ("404", "Model x not found", Kind.AWAY),
        ("400", "bad request", Kind.REFUSED),
        ("401", "who are you", Kind.REFUSED),
        (None, "the client refused", Kind.REFUSED),
    ],
)
def test_what_a_refusal_means(status: str | None, message: str, kind: Kind) -> None:
    found = refusal(status, message)
    assert found.kind is kind
    assert message in str(found)


def test_what_a_broken_connection_means() -> None:
    assert broken(ConnectionResetError("reset")).kind is Kind.TRANSIENT
    assert broken(TimeoutError("timed out")).kind is Kind.TIMEOUT
    assert broken(KeyError("outputs")).kind is Kind.REFUSED


@pytest.mark.parametrize(("tries", "about_s"), [(1, 0.5), (2, 1), (5, 8), (6, 10), (5000, 10)])
def test_pauses_double_up_to_a_limit(tries: int, about_s: float) -> None:
    found = [delay_s(tries) for _ in range(200)]
    assert 0.75 * about_s <= min(found) < max(found) <= 1.25 * about_s


def test_names_on_a_server() -> None:
    assert model_name("segmentation_masks", "fp32") == "segmentation_masks"
    assert model_name("segmentation_masks", "fp16") == "segmentation_masks_fp16"


@pytest.mark.parametrize("import_client", [tools.import_grpc_client, tools.import_http_client])
@pytest.mark.parametrize("error", [ModuleNotFoundError("No module named 'grpc'"), RuntimeError("")])
def test_without_tritonclient(
    monkeypatch: pytest.MonkeyPatch, import_client: object, error: Exception
) -> None:
    def fail(name: str) -> None:
        raise error

    monkeypatch.setattr(tools.importlib, "import_module", fail)
    with pytest.raises(MissingDependencyError, match=r"pip install 'voxport\[serving\]'"):
        import_client()  # type: ignore[operator]
