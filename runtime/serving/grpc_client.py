"""KServe v2 over gRPC."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ..inputs import Arrays
from .address import Address
from .client import Client, infer_inputs, outputs_of
from .failures import RequestError, broken, refusal
from .tools import import_grpc_client

_Answer = TypeVar("_Answer")
_UNLIMITED = -1


class GrpcClient(Client):
    """One channel, which threads share: "most of the methods are thread-safe except start_stream,
    stop_stream and async_stream_infer" (``tritonclient.grpc.InferenceServerClient``)."""

    def __init__(self, address: Address, timeout_s: float) -> None:
        """Raises MissingDependencyError where tritonclient is not installed."""
        self._triton = import_grpc_client()
        self._timeout_s = timeout_s
        # Nothing connects before the first request.
        self._client = self._triton.InferenceServerClient(
            address.place, ssl=address.encrypted, channel_args=_channel_arguments()
        )

    def server_metadata(self) -> dict[str, Any]:
        found: dict[str, Any] = self._asked(self._client.get_server_metadata, as_json=True)
        return found

    def server_ready(self) -> bool:
        return bool(self._asked(self._client.is_server_ready))

    def model_ready(self, model: str) -> bool:
        return bool(self._asked(self._client.is_model_ready, model))

    def model_metadata(self, model: str) -> dict[str, Any]:
        found: dict[str, Any] = self._asked(self._client.get_model_metadata, model, as_json=True)
        return found

    def model_config(self, model: str) -> dict[str, Any]:
        found: dict[str, Any] = self._asked(self._client.get_model_config, model, as_json=True)
        config: dict[str, Any] = found.get("config", {})
        return config

    def infer(self, model: str, inputs: Arrays, outputs: Sequence[str]) -> Arrays:
        wanted = [self._triton.InferRequestedOutput(name) for name in outputs]
        tensors = infer_inputs(self._triton, inputs)

        def ask(client_timeout: float) -> Arrays:
            result = self._client.infer(
                model, tensors, outputs=wanted, client_timeout=client_timeout
            )
            return outputs_of(result, outputs)

        return self._asked(ask)

    def _asked(self, ask: Callable[..., _Answer], *arguments: Any, **named: Any) -> _Answer:
        try:
            return ask(*arguments, client_timeout=self._timeout_s, **named)
        except RequestError:
            raise
        except self._triton.InferenceServerException as error:
            raise refusal(error.status(), error.message()) from error
        # A closed channel's ValueError, and whatever an answer that is none leads to.
        except Exception as error:
            raise broken(error) from error

    def close(self) -> None:
        self._client.close()


def _channel_arguments() -> list[tuple[str, int]]:
    return [
        ("grpc.max_send_message_length", _UNLIMITED),
        ("grpc.max_receive_message_length", _UNLIMITED),
        # By default it waits for up to two minutes before it connects to a restarted server.
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.min_reconnect_backoff_ms", 200),
        ("grpc.max_reconnect_backoff_ms", 1000),
        # As over HTTP, whose client knows no proxies.
        ("grpc.enable_http_proxy", 0),
        # Channels of one process to one server would share a connection.
        ("grpc.use_local_subchannel_pool", 1),
    ]
