"""Where an inference server answers: ``triton://HOST:PORT`` and its relatives."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Literal

from ..errors import DeviceError

Protocol = Literal["grpc", "http"]

# Protocol, whether it is encrypted, and Triton's own port.
_SCHEMES: dict[str, tuple[Protocol, bool, int]] = {
    "triton": ("grpc", False, 8001),
    "triton+grpcs": ("grpc", True, 8001),
    "triton+http": ("http", False, 8000),
    "triton+https": ("http", True, 8000),
}
FORMS = ", ".join(f"{scheme}://HOST:PORT" for scheme in _SCHEMES)
_MAX_PORT = 65535
_PLACE = re.compile(
    r"(?P<host>[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\])(?::(?P<port>[0-9]{1,5}))?/?"
)


@dataclass(frozen=True)
class Address:
    """A server as ``device=`` names it; ``str`` gives the name with its port."""

    scheme: str
    host: str
    port: int

    @property
    def protocol(self) -> Protocol:
        return _SCHEMES[self.scheme][0]

    @property
    def encrypted(self) -> bool:
        return _SCHEMES[self.scheme][1]

    @property
    def place(self) -> str:
        """``HOST:PORT``; brackets are around an IPv6 address."""
        return f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.place}"


def is_server(device: str) -> bool:
    """Whether a device, or a request for one, names a server instead of hardware."""
    return "://" in device


def parse_address(request: str) -> Address:
    """The server that a request names.

    Raises:
        DeviceError: another scheme, no host, a port out of range, or anything beyond these: a
            path, a user or a password.
    """
    scheme, _, rest = request.partition("://")
    place = _PLACE.fullmatch(rest)
    if scheme not in _SCHEMES or place is None or not _is_host(place["host"]):
        raise DeviceError(f"{request!r:.120} names no server; expected one of: {FORMS}")
    port = int(place["port"]) if place["port"] else _SCHEMES[scheme][2]
    if not 0 < port <= _MAX_PORT:
        raise DeviceError(f"{request!r:.120}: a port is from 1 to {_MAX_PORT}, got {port}")
    return Address(scheme, place["host"], port)


def _is_host(host: str) -> bool:
    if not host.startswith("["):
        return True
    try:
        ipaddress.IPv6Address(host[1:-1])
    except ValueError:
        return False
    return True
