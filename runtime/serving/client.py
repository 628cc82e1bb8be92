"""What is asked of an inference server, over either protocol of KServe v2."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from ..closing import Closing
from ..inputs import Arrays
from .address import Address
from .failures import Kind, RequestError

# The manifest's dtypes in the protocol's words.
DATATYPES = {"float32": "FP32", "int64": "INT64", "int32": "INT32", "bool": "BOOL"}


class Client(Closing):
    """One server, for any number of threads. Every method may raise ``RequestError``.

    Attributes:
        binary: whether the server takes tensors as bytes over HTTP, which is an extension; gRPC
            has no other way.
    """

    binary = False

    @abstractmethod
    def server_metadata(self) -> dict[str, Any]:
        """Name, version and extensions."""

    @abstractmethod
    def server_ready(self) -> bool:
        """Whether all models that it means to serve are ready."""

    @abstractmethod
    def model_ready(self, model: str) -> bool:
        """Whether it serves a model; a server may refuse to tell of one that it does not have."""

    @abstractmethod
    def model_metadata(self, model: str) -> dict[str, Any]:
        """Inputs and outputs, with names, datatypes and shapes."""

    @abstractmethod
    def model_config(self, model: str) -> dict[str, Any]:
        """Triton's configuration of a model: an extension that other servers lack."""

    @abstractmethod
    def infer(self, model: str, inputs: Arrays, outputs: Sequence[str]) -> Arrays:
        """Outputs by name, unchecked.

        Args:
            model: its name.
            inputs: by name.
            outputs: the names of those that are wanted.
        """


def infer_inputs(triton: Any, inputs: Arrays, **how: bool) -> list[Any]:
    """``tritonclient``'s inputs, of either protocol."""
    made = []
    for name, array in inputs.items():
        tensor = triton.InferInput(name, list(array.shape), DATATYPES[array.dtype.name])
        made.append(tensor.set_data_from_numpy(array, **how))
    return made


def outputs_of(result: Any, names: Sequence[str]) -> Arrays:
    """The arrays of ``tritonclient``'s result."""
    found = {name: result.as_numpy(name) for name in names}
    missing = [name for name, array in found.items() if array is None]
    if missing:
        raise RequestError(Kind.REFUSED, f"its answer lacks {', '.join(missing)}")
    return found


def connect(address: Address, timeout_s: float, at_once: int) -> Client:
    """A client; nothing is sent yet.

    Args:
        address: of the server.
        timeout_s: for each request, from its beginning to the end of its answer.
        at_once: requests that may be under way at the same time over HTTP; more wait. There is
            no limit over gRPC.

    Raises:
        MissingDependencyError: tritonclient is not installed.
    """
    if address.protocol == "grpc":
        from .grpc_client import GrpcClient  # noqa: PLC0415 -- either imports this module

        return GrpcClient(address, timeout_s)
    from .http_client import HttpClient  # noqa: PLC0415

    return HttpClient(address, timeout_s, at_once)
