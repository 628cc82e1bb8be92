"""The files of a TensorFlow checkpoint, whichever of them was named."""

from __future__ import annotations

import os
import re
from contextlib import ExitStack
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

import torch
from torch import Tensor

from ...errors import CheckpointNotFoundError, CorruptCheckpointError
from ..cache import sha256_of
from ..content import located
from .table import MAGIC, Table
from .v1 import read_v1
from .v2 import num_shards, read_v2
from .variables import Array, Wanted

_INDEX = ".index"
_BESIDE_INDEX = re.compile(r"(?P<prefix>.+)\.(data-\d{5}-of-\d{5}|meta)")


@dataclass(frozen=True)
class TensorflowVariables:
    """Variables by name, as CPU tensors, and the files that they came from.

    ``sha256`` (hexadecimal) and ``size_bytes`` are of all files after one another, the table first.
    """

    state: dict[str, Tensor]
    files: tuple[Path, ...]
    sha256: str
    size_bytes: int


def tensorflow_table(path: Path) -> Path | None:
    """The table of the TensorFlow checkpoint that a path means; None if it means none.

    The path may be the single file of version 1, or of version 2 the prefix that TensorFlow takes
    (``vggish_model.ckpt``), its ``.index`` or another of its files.

    Raises CheckpointNotFoundError for a data file without its table.
    """
    beside = _BESIDE_INDEX.fullmatch(path.name)
    prefix = path.with_name(beside["prefix"]) if beside else path
    index = Path(f"{prefix}{_INDEX}")
    found = next((file for file in (path, index) if _is_table(file)), None)
    if found is None and beside and path.is_file():
        raise CheckpointNotFoundError(
            f"{path}: part of a TensorFlow checkpoint whose table {index.name} is not beside it"
        )
    return found


def _is_table(path: Path) -> bool:
    try:
        if not path.is_file():
            return False
        with path.open("rb") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - len(MAGIC)))
            return stream.read() == MAGIC
    # Whoever opens it next says why it cannot be read.
    except OSError:
        return False


def read_tensorflow(file: Path, wanted: Wanted) -> TensorflowVariables:
    """Read the variables whose names are wanted from the checkpoint with this table.

    Raises:
        CheckpointNotFoundError: a data file is missing or cannot be read.
        CorruptCheckpointError: truncated, damaged, or claiming more than its files hold.
        TensorShapeError: a wanted variable of other than FP32 and FP64 numbers.
        UnsupportedArchitectureError: big-endian, compressed or, in version 2, saved in parts.
    """
    with ExitStack() as stack:
        # All files stay open from hash to weights: nobody can exchange them in between.
        streams = [stack.enter_context(_opened(file))]
        table = located(lambda: Table(streams[0]), str(file))
        files = (file, *located(lambda: _data_files(file, table), str(file)))
        streams += [stack.enter_context(_opened(each)) for each in files[1:]]
        size_bytes = sum(stream.seek(0, os.SEEK_END) for stream in streams)
        for stream in streams:
            stream.seek(0)
        sha256 = sha256_of(*streams)
        state = located(lambda: _read(table, streams[1:], wanted), str(file))
    tensors = {name: torch.from_numpy(array) for name, array in state.items()}
    return TensorflowVariables(tensors, files, sha256, size_bytes)


def _opened(file: Path) -> BufferedReader:
    try:
        if not file.is_file():
            raise FileNotFoundError(None, "no such file")
        return file.open("rb")
    except OSError as error:
        raise CheckpointNotFoundError(
            f"{file}: cannot be read ({error.strerror}); it is part of the checkpoint"
        ) from error


def _data_files(file: Path, table: Table) -> list[Path]:
    """The data files of version 2, in order; none in version 1."""
    key, header = next(table.entries(), (b"", memoryview(b"")))
    if key or not header:
        raise CorruptCheckpointError("a table, but not one of a TensorFlow checkpoint")
    prefix, count = file.name.removesuffix(_INDEX), num_shards(header)
    return [file.with_name(f"{prefix}.data-{i:05d}-of-{count:05d}") for i in range(count)]


def _read(table: Table, shards: list[BufferedReader], wanted: Wanted) -> dict[str, Array]:
    return read_v2(table, shards, wanted) if shards else read_v1(table, wanted)
