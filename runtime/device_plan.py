"""Where a session runs, and why, as one value."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass

Provider = tuple[str, dict[str, str]]


@dataclass(frozen=True)
class DevicePlan:
    """Where a session runs, and why.

    Attributes:
        requested: what was asked for.
        device: "cpu", "cuda:0", "coreml", "tensorrt:0"; "cpu:0" on one NUMA node, "cpu@0-3" on some
            processors; of several sessions "cuda:0,1", "cpu:0,1", "cpu*2"; of a server
            its address with its port.
        artifact_format: which of an artifact's files runs there, "onnx" or "coreml".
        providers: ONNX Runtime's providers in order, with their options; none for "coreml" and
            servers. After CUDA stands the CPU: shapes are computed there. A session must check
            after loading that nothing else is. None where there are ``parts``.
        reasons: why this device, and why not those that would have come before it.
        is_fallback: another device is here, or was named, but cannot be used.
        strict: the device was named and no other was allowed.
        cpus: the logical processors that its threads keep to, and as many threads; empty: any.
        parts: the plans of several sessions behind one interface; empty for one session.
    """

    requested: str
    device: str
    artifact_format: str
    providers: tuple[Provider, ...]
    reasons: tuple[str, ...]
    is_fallback: bool
    strict: bool
    cpus: tuple[int, ...] = ()
    parts: tuple[DevicePlan, ...] = ()

    @property
    def kind(self) -> str:
        """What ``device`` is one of: "cpu", "cuda", "coreml", "tensorrt", "triton"."""
        return device_kind(self.device)

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    def __str__(self) -> str:
        kind = "fallback from" if self.is_fallback else "requested"
        return f"{self.device} ({kind} {self.requested!r}): {'; '.join(self.reasons)}"


def device_kind(device: str) -> str:
    """What the device of a plan or session is one of: "cpu", "cuda", "coreml", ..."""
    return re.split(r"[:*@+]", device)[0]
