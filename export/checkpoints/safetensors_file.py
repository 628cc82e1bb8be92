"""Reading safetensors files, which hold tensors and text only."""

from __future__ import annotations

import json
from typing import IO

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from ..errors import CorruptCheckpointError


def read_safetensors(stream: IO[bytes]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of a safetensors file; raises CorruptCheckpointError."""
    data = stream.read()
    try:
        tensors = safetensors.torch.load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    except (SafetensorError, LookupError, ValueError, TypeError, RuntimeError) as error:
        raise CorruptCheckpointError(f"not a sound safetensors file ({error})") from error
    metadata = header.get("__metadata__") or {}
    return tensors, {str(key): str(value) for key, value in metadata.items()}
