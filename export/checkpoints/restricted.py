"""A pickle reader that can build tensors and plain values, and run nothing.

Every global that a pickle names is looked up in a short table of exact names. What training
frameworks leave in their checkpoints becomes an inert stand-in, which only keeps what the
pickle says about it. Anything else is refused before a single object of it is made.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import struct
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor

from ..errors import CorruptCheckpointError, UnsafeCheckpointError
from .pickle_machine import Call, PickleMachine, StandIn, checked_keys

# Far above any checkpoint's pickle, whose tensors lie outside it.
MAX_PICKLE_BYTES = 16 << 20

# Raised by the reader on input that is not a well-formed checkpoint.
MALFORMED = (
    pickle.UnpicklingError,
    EOFError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
    OverflowError,
    struct.error,
    MemoryError,
    RuntimeError,
)

_STORAGES: Mapping[str, torch.dtype] = MappingProxyType(
    {
        "FloatStorage": torch.float32,
        "DoubleStorage": torch.float64,
        "HalfStorage": torch.float16,
        "BFloat16Storage": torch.bfloat16,
        "LongStorage": torch.int64,
        "IntStorage": torch.int32,
        "ShortStorage": torch.int16,
        "CharStorage": torch.int8,
        "ByteStorage": torch.uint8,
        "BoolStorage": torch.bool,
    }
)
# Kept as inert records: they occur in honest checkpoints and their meaning is not needed.
_INERT = frozenset(
    {
        ("_codecs", "encode"),
        ("argparse", "Namespace"),
        ("functools", "partial"),
        ("numpy", "dtype"),
        ("numpy", "ndarray"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "scalar"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy.core.multiarray", "scalar"),
        ("pathlib", "PosixPath"),
        ("pathlib", "WindowsPath"),
        ("torch", "device"),
        ("torch.torch_version", "TorchVersion"),
    }
)
_INERT_PACKAGES = ("pyannote.", "pytorch_lightning.", "lightning.", "lightning_fabric.")
# More than any layer's; a list of axes may be used for many tensors.
_MAX_AXES = 16


class StorageKind:
    """In place of a storage class of torch: its element type."""

    __slots__ = ("dtype",)

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype


def storage_reference(reference: object, *rest: None) -> tuple[StorageKind, str, int]:
    """Element type, key and count of numbers of a persistent id, which must end in ``rest``.

    Raises:
        CorruptCheckpointError: it is malformed.
    """
    if isinstance(reference, tuple) and len(reference) == 5 + len(rest):
        tag, kind, key, _, count, *end = reference
        if (
            tag == "storage"
            and isinstance(kind, StorageKind)
            and isinstance(key, str)
            and isinstance(count, int)
            and count >= 0
            and all(each is None for each in end)
        ):
            return kind, key, count
    raise CorruptCheckpointError("a storage reference is malformed")


def flat_tensor(data: bytearray, dtype: torch.dtype) -> Tensor:
    """The numbers in ``data``, which it shares; its storage cannot be resized."""
    count = len(data) // dtype.itemsize
    # torch takes no empty buffer, and gives an empty tensor of its own a storage that can grow.
    buffer = data if count else bytearray(dtype.itemsize)
    return torch.frombuffer(buffer, dtype=dtype, count=max(count, 1))[:count]


def rebuild_tensor(
    storage: object, offset: object, size: object, stride: object, *_: object
) -> Tensor:
    """A view of a flat tensor; raises CorruptCheckpointError if it reaches outside of it."""
    if not (isinstance(storage, Tensor) and storage.ndim == 1):
        raise CorruptCheckpointError("a tensor is not built on a storage")
    sizes, strides, start = _naturals(size), _naturals(stride), _naturals((offset,))[0]
    if max(len(sizes), len(strides)) > _MAX_AXES:
        raise CorruptCheckpointError(f"a tensor has {len(sizes)} axes")
    if len(sizes) != len(strides):
        raise CorruptCheckpointError(f"a tensor of size {sizes} has strides {strides}")
    count = 1
    for length in sizes:
        count *= length
    last = start + sum((length - 1) * step for length, step in zip(sizes, strides, strict=True))
    # Counting elements too refuses a few bytes that are repeated (stride 0) into a huge tensor.
    if max(count, start) > storage.numel() or (count > 0 and last >= storage.numel()):
        raise CorruptCheckpointError(
            f"a tensor of size {sizes} needs more numbers than its storage of {storage.numel()} has"
        )
    return storage.as_strided(sizes, strides, start)


def _rebuild_parameter(data: object, *_: object) -> Tensor:
    if not isinstance(data, Tensor):
        raise CorruptCheckpointError("a parameter is not built on a tensor")
    return data


def _naturals(values: object) -> tuple[int, ...]:
    if not isinstance(values, tuple):
        raise CorruptCheckpointError("a tensor's size or stride is not a tuple")
    numbers = tuple(value for value in values if isinstance(value, int) and value >= 0)
    if len(numbers) != len(values):
        raise CorruptCheckpointError(f"a tensor's size, stride or offset is {values}")
    return numbers


def _ordered_dict(items: object = ()) -> OrderedDict[object, object]:
    # How Python 2 wrote one.
    pairs = [_sequence(each) for each in _sequence(items)]
    checked_keys(key for key, _ in pairs)
    return OrderedDict((key, value) for key, value in pairs)


def _set(items: object = ()) -> set[object]:
    checked_keys(_sequence(items))
    return set(_sequence(items))


def _dict(*_: object) -> dict[object, object]:
    # Without the factory, which a look-up of ours would call.
    return {}


def _size(lengths: object = ()) -> tuple[object, ...]:
    return tuple(_sequence(lengths))


def _sequence(items: object) -> Sequence[object]:
    if not isinstance(items, (list, tuple)):
        raise CorruptCheckpointError("a container is not made of a list")
    return items


_CALLS: Mapping[tuple[str, str], Call] = MappingProxyType(
    {
        ("collections", "OrderedDict"): Call(_ordered_dict),
        ("collections", "defaultdict"): Call(_dict),
        ("builtins", "set"): Call(_set),
        ("__builtin__", "set"): Call(_set),
        ("torch", "Size"): Call(_size),
        ("torch._utils", "_rebuild_tensor_v2"): Call(rebuild_tensor),
        ("torch._utils", "_rebuild_parameter"): Call(_rebuild_parameter),
    }
)


class _Reader(PickleMachine):
    def __init__(self, data: bytes, read_storage: Callable[[object], Tensor]) -> None:
        super().__init__(data)
        self._read_storage = read_storage

    def find_class(self, module_name: str, global_name: str) -> object:
        """The stand-in for a global; raises UnsafeCheckpointError for all but the known ones."""
        key = (module_name, global_name)
        if key in _CALLS:
            return _CALLS[key]
        if module_name == "torch" and global_name in _STORAGES:
            return StorageKind(_STORAGES[global_name])
        if key in _INERT or module_name.startswith(_INERT_PACKAGES):
            return StandIn
        raise UnsafeCheckpointError(
            f"loading it would call '{module_name}.{global_name}', which no checkpoint of these "
            "networks needs; nothing was run"
        )

    def persistent_load(self, pid: object) -> Tensor:
        """The storage that the pickle refers to, as a flat tensor."""
        return self._read_storage(pid)


def _scan(data: bytes) -> int:
    """Where the pickle ends; raises UnsafeCheckpointError for the one table outside of it."""
    stream = io.BytesIO(data)
    for opcode, _, _ in pickletools.genops(stream):
        if opcode.name.startswith("EXT"):
            raise UnsafeCheckpointError("its pickle refers to the interpreter's extension registry")
    return stream.tell()


def pickle_end(data: bytes) -> int:
    """How many bytes of ``data`` are a pickle; raises CorruptCheckpointError if it starts none."""
    try:
        return _scan(data)
    except MALFORMED as error:
        raise CorruptCheckpointError(f"its pickle is malformed ({error})") from error


def read_pickle(data: bytes, read_storage: Callable[[object], Tensor]) -> object:
    """The value of a pickle of plain values, tensors and stand-ins.

    ``read_storage`` turns a storage reference into a flat tensor. Raises UnsafeCheckpointError
    for a global that is not on the list, CorruptCheckpointError for a malformed pickle.
    """
    try:
        if len(data) > MAX_PICKLE_BYTES:
            raise CorruptCheckpointError(
                f"its pickle has {len(data)} bytes, more than any checkpoint's ({MAX_PICKLE_BYTES})"
            )
        _scan(data)
        return _Reader(data, read_storage).load()
    except MALFORMED as error:
        raise CorruptCheckpointError(f"its pickle is malformed ({error})") from error
