"""What a checkpoint file says, whatever its container: weights and hyper-parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import IO, TypeVar

from torch import Tensor

from ..errors import (
    CheckpointError,
    CorruptCheckpointError,
    UnexpectedTensorError,
    UnsafeCheckpointError,
)
from .npz_file import is_npz, read_npz
from .pickle_machine import StandIn
from .safetensors_file import read_safetensors
from .torch_file import read_torch_zip
from .torch_legacy import is_torch_legacy, read_torch_legacy

_WRAPPERS = ("state_dict", "embedding_model", "model_state_dict", "model")
_MODULE = "module."  # put before every name by data-parallel training
_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Content:
    """Weights by name, and what is known about the network that they belong to."""

    where: str  # the file, for messages
    state: dict[str, Tensor]
    hyper_parameters: Mapping[str, object] = field(default_factory=dict)
    specifications: object = None  # of pyannote.audio: a mapping of fields, or None
    architecture: str | None = None  # class name given by pyannote.audio
    metadata: Mapping[str, str] = field(default_factory=dict)  # of safetensors

    def with_state(self, state: dict[str, Tensor]) -> Content:
        return Content(
            self.where,
            state,
            self.hyper_parameters,
            self.specifications,
            self.architecture,
            self.metadata,
        )


def read_content(stream: IO[bytes], where: str) -> Content:
    """Read a checkpoint of any accepted container; ``where`` names the file in errors.

    Raises UnsafeCheckpointError, CorruptCheckpointError, UnexpectedTensorError.
    """
    start = stream.read(64)
    stream.seek(0)
    if start.startswith(b"PK\x03\x04"):
        if is_npz(stream):
            return Content(where, _without_module(located(lambda: read_npz(stream), where)))
        tree = located(lambda: read_torch_zip(stream), where)
        return _from_tree(tree, where, stream.seek(0, 2))
    if start[8:9] == b"{":
        tensors, metadata = located(lambda: read_safetensors(stream), where)
        return Content(where=where, state=_without_module(tensors), metadata=metadata)
    if is_torch_legacy(start):
        tree = located(lambda: read_torch_legacy(stream), where)
        return _from_tree(tree, where, stream.seek(0, 2))
    if start.startswith((b"\x80", b"c", b"(")):
        raise UnsafeCheckpointError(
            f"{where}: a bare pickle, refused unread; save the weights again with torch.save, or "
            "as safetensors"
        )
    raise CorruptCheckpointError(f"{where}: {_guess(start)}")


def _guess(start: bytes) -> str:
    if not start:
        return "the file is empty; download or copy it again"
    if b"git-lfs" in start:
        return "a Git LFS pointer, not the file itself; run 'git lfs pull'"
    if start.lstrip()[:1] == b"<":
        return "a web page, not a checkpoint; the download was answered with a page"
    return "neither a torch.save archive nor a safetensors file, nor a NumPy archive"


def located(read: Callable[[], _Value], where: str) -> _Value:
    """Put the file's name before the message of any error about its content."""
    try:
        return read()
    except CheckpointError as error:
        raise type(error)(f"{where}: {error}") from error


def _from_tree(tree: object, where: str, file_bytes: int) -> Content:
    if not isinstance(tree, dict):
        raise CorruptCheckpointError(f"{where}: holds a {type(tree).__name__}, not weights by name")
    weights = next((tree[key] for key in _WRAPPERS if isinstance(tree.get(key), dict)), tree)
    state = _without_module(_tensors(weights, where))
    # Tensors that share a storage would let a small file unpack to a large one.
    claimed = sum(value.numel() * value.element_size() for value in state.values())
    if claimed > file_bytes:
        raise CorruptCheckpointError(
            f"{where}: its tensors claim {claimed} bytes, but the file has {file_bytes}"
        )
    pyannote = as_mapping(tree.get("pyannote.audio"))
    return Content(
        where=where,
        state=state,
        hyper_parameters=as_mapping(tree.get("hyper_parameters")),
        specifications=pyannote.get("specifications"),
        architecture=_text(as_mapping(pyannote.get("architecture")).get("class")),
    )


def _tensors(weights: Mapping[object, object], where: str) -> dict[str, Tensor]:
    state = {
        name: value
        for name, value in weights.items()
        if isinstance(name, str) and isinstance(value, Tensor)
    }
    if not state:
        raise CorruptCheckpointError(f"{where}: holds no tensors by name")
    if len(state) != len(weights):
        strange = next(name for name in weights if name not in state)
        raise UnexpectedTensorError(f"{where}: the weights' entry {strange!r:.100} is no tensor")
    return state


def _without_module(state: dict[str, Tensor]) -> dict[str, Tensor]:
    if state and all(name.startswith(_MODULE) for name in state):
        return {name.removeprefix(_MODULE): value for name, value in state.items()}
    return state


def as_mapping(value: object) -> Mapping[str, object]:
    """Fields of a mapping or of a stand-in; empty for anything else."""
    if isinstance(value, StandIn) and isinstance(value.state, dict):
        value = value.state
    if not isinstance(value, dict):
        return {}
    return {key: item for key, item in value.items() if isinstance(key, str)}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
