"""A pickle reader that can build tensors and plain values, and run nothing.

Every global that a pickle names is looked up in a short table of exact names. What training
frameworks leave in their checkpoints becomes an inert stand-in, which only keeps what the
pickle says about it. Anything else is refused before a single object of it is made.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NoReturn

import torch
from torch import Tensor

from ..errors import CorruptCheckpointError, UnsafeCheckpointError

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
_PLAIN: Mapping[tuple[str, str], type] = MappingProxyType(
    {
        ("collections", "OrderedDict"): OrderedDict,
        ("collections", "defaultdict"): defaultdict,
        ("builtins", "set"): set,
        ("__builtin__", "set"): set,
        ("torch", "Size"): tuple,
    }
)


class StandIn(dict[object, object]):
    """In place of an object of a class that is not to be imported: what the pickle said of it.

    A dictionary, because some of these classes are; ``arguments`` are those it was made with
    and ``state`` is what was to be restored into it.
    """

    arguments: tuple[object, ...]
    state: object

    def __new__(cls, *arguments: object, **_: object) -> StandIn:
        made = super().__new__(cls)
        made.arguments = arguments
        made.state = None
        return made

    def __init__(self, *_: object, **__: object) -> None:
        super().__init__()

    def __setstate__(self, state: object) -> None:
        self.state = state

    __hash__ = object.__hash__  # type: ignore[assignment]


class StorageKind:
    """In place of a storage class of torch: its element type."""

    __slots__ = ("dtype",)

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype


class _Call:
    """A function of ours that a pickle may call; unlike a function, nothing can be set on it."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Tensor]) -> None:
        self._function = function

    def __call__(self, *arguments: object) -> Tensor:
        return self._function(*arguments)

    def __setstate__(self, state: object) -> NoReturn:
        raise UnsafeCheckpointError("the pickle tries to alter a function of its reader")


def rebuild_tensor(
    storage: object, offset: object, size: object, stride: object, *_: object
) -> Tensor:
    """A view of a flat tensor; raises CorruptCheckpointError if it reaches outside of it."""
    if not (isinstance(storage, Tensor) and storage.ndim == 1):
        raise CorruptCheckpointError("a tensor is not built on a storage")
    sizes, strides, start = _naturals(size), _naturals(stride), _naturals((offset,))[0]
    if len(sizes) != len(strides):
        raise CorruptCheckpointError(f"a tensor of size {sizes} has strides {strides}")
    count = 1
    for length in sizes:
        count *= length
    last = start + sum((length - 1) * step for length, step in zip(sizes, strides, strict=True))
    # Counting elements too refuses a few bytes that are repeated (stride 0) into a huge tensor.
    if count > storage.numel() or (count > 0 and last >= storage.numel()):
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


class _Reader(pickle.Unpickler):
    def __init__(self, data: bytes, read_storage: Callable[[object], Tensor]) -> None:
        super().__init__(io.BytesIO(data))
        self._read_storage = read_storage

    def find_class(self, module_name: str, global_name: str) -> object:
        """The stand-in for a global; raises UnsafeCheckpointError for all but the known ones."""
        key = (module_name, global_name)
        if key in _PLAIN:
            return _PLAIN[key]
        if module_name == "torch" and global_name in _STORAGES:
            return StorageKind(_STORAGES[global_name])
        if key == ("torch._utils", "_rebuild_tensor_v2"):
            return _Call(rebuild_tensor)
        if key == ("torch._utils", "_rebuild_parameter"):
            return _Call(_rebuild_parameter)
        if key in _INERT or module_name.startswith(_INERT_PACKAGES):
            # A new class each time, so that one file leaves no trace for the next.
            return type(global_name, (StandIn,), {})
        raise UnsafeCheckpointError(
            f"loading it would call '{module_name}.{global_name}', which no checkpoint of these "
            "networks needs; nothing was run"
        )

    def persistent_load(self, pid: object) -> Tensor:
        """The storage that the pickle refers to, as a flat tensor."""
        return self._read_storage(pid)


def _scan(data: bytes) -> int:
    """Refuse what the interpreter's own reader is not hardened against; where the pickle ends."""
    stream = io.BytesIO(data)
    for opcode, argument, _ in pickletools.genops(stream):
        if opcode.name.startswith("EXT"):
            raise UnsafeCheckpointError("its pickle refers to the interpreter's extension registry")
        # The memo is an array as long as its largest index, whatever is stored in it.
        if opcode.name.endswith("PUT") and isinstance(argument, int) and argument > len(data):
            raise CorruptCheckpointError("its pickle has a memo index beyond its own length")
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
