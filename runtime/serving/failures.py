"""What may go wrong between a client and an inference server, and what is worth another try."""

from __future__ import annotations

import ssl
from enum import Enum
from http.client import HTTPException

# Triton's and MLServer's words for a model that is being loaded, as after a restart; with the
# status of a bad request, of something unknown or of no service.
_AWAY = ("unknown model", "not ready", "not at ready state", "no available versions")
# gRPC's words for a message over a limit, which has the status of exhausted resources.
_TOO_LARGE = "message larger than max"
_NOT_FOUND = frozenset({"NOT_FOUND", "404"})
_TRANSIENT_GRPC = frozenset({"UNAVAILABLE", "RESOURCE_EXHAUSTED", "ABORTED"})
_TRANSIENT_HTTP = frozenset({"429", "502", "503", "504"})


class Kind(Enum):
    """What a failure means for the next try."""

    TRANSIENT = "it may work soon: nobody answered, or the server is busy"
    AWAY = "the model is not there; it may come, as after a restart"
    TIMEOUT = "no answer in time; worth one more try"
    REFUSED = "it would fail again"


class RequestError(Exception):
    """One request failed; never leaves this package."""

    def __init__(self, kind: Kind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def refusal(status: str | None, message: str) -> RequestError:
    """The failure that a client of tritonclient reports.

    Args:
        status: "StatusCode.UNAVAILABLE" or the like of gRPC, "503" or the like of HTTP; None where
            the client itself refused.
        message: of the server.
    """
    code = (status or "").removeprefix("StatusCode.")
    told = f"{code}: {message}" if code else message
    lowered = message.lower()
    if code == "DEADLINE_EXCEEDED":
        return RequestError(Kind.TIMEOUT, told)
    if _TOO_LARGE in lowered:
        return RequestError(
            Kind.REFUSED,
            f"{told}; let the server take and send larger messages (of MLServer: "
            "grpc_max_message_length), or send smaller batches",
        )
    if code in _NOT_FOUND or any(sign in lowered for sign in _AWAY):
        return RequestError(Kind.AWAY, told)
    if code in _TRANSIENT_GRPC | _TRANSIENT_HTTP:
        return RequestError(Kind.TRANSIENT, told)
    return RequestError(Kind.REFUSED, told)


def broken(error: Exception) -> RequestError:
    """The failure for what a connection raised."""
    told = f"{type(error).__name__}: {error}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return RequestError(Kind.REFUSED, told)
    if isinstance(error, TimeoutError):
        return RequestError(Kind.TIMEOUT, told)
    # A connection that ends within an answer is an HTTPException.
    if isinstance(error, OSError | HTTPException):
        return RequestError(Kind.TRANSIENT, told)
    return RequestError(Kind.REFUSED, f"its answer cannot be read: {told}")
