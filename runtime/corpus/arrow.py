"""Parquet, through pyarrow (the extra ``corpus``)."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import CorpusError, MissingDependencyError

# A column of a table: its name, "text" or "seconds".
Columns = Mapping[str, str]


def import_pyarrow() -> Any:
    """The ``pyarrow`` package, with ``pyarrow.parquet``.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        importlib.import_module("pyarrow.parquet")
        return importlib.import_module("pyarrow")
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "Parquet needs pyarrow, which is not installed: pip install 'voxport[corpus]'"
        ) from error


def read_rows(file: BinaryIO, name: str, wanted: Sequence[str]) -> tuple[list[str], list[Any]]:
    """The names of all columns, and a dict per row of those that are wanted.

    Raises:
        CorpusError: it is no Parquet file; ``name`` begins the message.
        MissingDependencyError: pyarrow is not installed.
    """
    arrow = import_pyarrow()
    try:
        parquet = arrow.parquet.ParquetFile(file)
        names = list(parquet.schema_arrow.names)
        table = parquet.read(columns=[each for each in wanted if each in names])
        return names, list(table.to_pylist())
    except (arrow.ArrowException, OSError) as error:
        raise CorpusError(f"{name}: cannot be read as Parquet: {error}") from error


def write_rows(
    path: Path,
    columns: Columns,
    groups: Iterable[Mapping[str, Sequence[Any]]],
    metadata: Mapping[str, str],
) -> None:
    """Write a table, a row group at a time: ``groups`` gives the values of each column.

    Raises:
        OSError: it cannot be written.
    """
    arrow = import_pyarrow()
    kinds = {"text": arrow.string(), "seconds": arrow.float64()}
    fields = [arrow.field(name, kinds[kind], nullable=False) for name, kind in columns.items()]
    schema = arrow.schema(fields, metadata=dict(metadata))
    with arrow.parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for group in groups:
            writer.write_table(arrow.table(dict(group), schema=schema))
