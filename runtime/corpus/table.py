"""The turns of a whole corpus as one Parquet table."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..recordings.writing import drafted
from .arrow import write_rows
from .records import Record

NAME = "turns.parquet"
COLUMNS = {"file_id": "text", "start_s": "seconds", "end_s": "seconds", "speaker": "text"}
# As many as are held in memory; some hours of conversation.
_GROUP_TURNS = 100_000


def write_table(
    output: Path, records: Iterable[Record], configuration: Mapping[str, Any], sha256: str
) -> None:
    """Write ``turns.parquet``: file_id, start_s, end_s, speaker; a row per turn.

    ``records`` must come sorted by file id; within a file turns are sorted by start, end and
    speaker. The configuration stands in the table's metadata, as ``voxport``. A file in which
    nobody speaks has no row.

    Raises:
        MissingDependencyError: pyarrow is not installed.
        NoSpaceError, VoxportError: it cannot be written; what was there before stays.
    """
    made_by = {"configuration": configuration, "configuration_sha256": sha256}
    metadata = {"voxport": json.dumps(made_by, sort_keys=True)}
    with drafted(output / NAME) as draft:
        write_rows(draft, COLUMNS, _groups(records), metadata)


def _groups(records: Iterable[Record]) -> Iterator[dict[str, list[Any]]]:
    group: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    for record in records:
        for start_s, end_s, speaker in record.turns:
            for name, value in zip(COLUMNS, (record.file_id, start_s, end_s, speaker), strict=True):
                group[name].append(value)
        if len(group["file_id"]) >= _GROUP_TURNS:
            yield group
            group = {name: [] for name in COLUMNS}
    yield group
