"""Records of finished recordings: what a later run skips, and what tables and reports are made of.

A record is written after the results that it vouches for, so that whatever interrupts leaves
either both or a recording that is done again.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any

from ..recordings.files import Recording
from ..recordings.writing import make_folder, write_whole

FOLDER = ".voxport"
# What a damaged record raises.
_UNUSABLE = (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError)
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Record:
    """What is known of a finished recording.

    Attributes:
        file_id: as in RTTM.
        source: path or URL that it was read from.
        content_sha256: of the file's bytes; with ``size_bytes`` and ``modified`` as they were.
        configuration_sha256: of all that the results depend on besides the content.
        num_speakers: what was known of this recording alone.
        files: SHA-256 of each result by its name.
        duration_s: of the audio.
        seconds: by stage; "total" is wall time.
        turns: (start_s, end_s, speaker), in order.
        artifacts: name, precision, SHA-256 and device of the networks.
    """

    file_id: str
    source: str
    content_sha256: str
    size_bytes: int | None
    modified: str
    configuration_sha256: str
    num_speakers: int | None
    files: dict[str, str]
    duration_s: float
    seconds: dict[str, float]
    turns: list[tuple[float, float, str]]
    artifacts: list[dict[str, str]] = field(default_factory=list)

    def to_json(self) -> str:
        return json.dumps({"schema_version": SCHEMA_VERSION, **asdict(self)}) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Record:
        """Read it with suspicion.

        Raises:
            ValueError, TypeError, KeyError, AttributeError, OverflowError: anything but what
                ``to_json`` writes; numbers that are not finite too.
        """
        data: dict[str, Any] = json.loads(text)
        if data.pop("schema_version") != SCHEMA_VERSION:
            raise ValueError("schema_version")
        turns = [(_finite(start), _finite(end), str(who)) for start, end, who in data["turns"]]
        seconds = {str(name): _finite(value) for name, value in data["seconds"].items()}
        files = {str(name): str(value) for name, value in data["files"].items()}
        checked = {"turns": turns, "seconds": seconds, "files": files}
        return cls(**{**data, **checked, "duration_s": _finite(data["duration_s"])})


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("not finite")
    return number


class Standing(Enum):
    """What a record says of a recording as it is now."""

    DONE = "the same content, and all results are there"
    TO_COMPARE = "changed times or none: the content must be hashed"
    TO_DO = "other content, another configuration, or results that are not what they were"


@dataclass(frozen=True)
class Records:
    """The records in a folder of results.

    Raises:
        VoxportError: their folder cannot be made.
    """

    output: Path
    configuration_sha256: str

    def __post_init__(self) -> None:
        make_folder(self.output / FOLDER)

    def read(self, recording: Recording) -> Record | None:
        """None where there is none that can be used: the recording is done again then."""
        try:
            return Record.from_json((self.output / FOLDER / _name(recording)).read_bytes())
        except (OSError, *_UNUSABLE):
            return None

    def standing(
        self, record: Record | None, recording: Recording, now: tuple[int | None, str] | None
    ) -> Standing:
        """Whether the recording has to be done; ``now`` is its ``stamp``, if it has one."""
        if record is None or now is None or not self._is_of_this(record, recording):
            return Standing.TO_DO
        if now[0] is not None and now[0] != record.size_bytes:
            return Standing.TO_DO
        is_known = bool(now[1]) and now == (record.size_bytes, record.modified)
        return Standing.DONE if is_known else Standing.TO_COMPARE

    def _is_of_this(self, record: Record, recording: Recording) -> bool:
        return (
            record.configuration_sha256 == self.configuration_sha256
            and record.num_speakers == recording.num_speakers
            and record.file_id == recording.file_id
            # Without any result there is nothing that says that it is done.
            and bool(record.files)
            and all(_has(self.output / name, sha) for name, sha in record.files.items())
        )

    def write(
        self, recording: Recording, facts: Mapping[str, Any], results: Mapping[str, str | bytes]
    ) -> Record:
        """Write the results of a recording, and its record when they are there.

        Raises:
            NoSpaceError, VoxportError: as ``write_whole``.
        """
        record = Record(
            file_id=recording.file_id,
            source=recording.label,
            configuration_sha256=self.configuration_sha256,
            num_speakers=recording.num_speakers,
            files={name: _sha256(content) for name, content in results.items()},
            **{name: facts[name] for name in _FACTS},
        )
        write_whole(self.output, results)
        self._keep(recording, record)
        return record

    def renew(self, recording: Recording, record: Record, facts: Mapping[str, Any]) -> Record:
        """Note the new time of content that did not change.

        Raises:
            NoSpaceError, VoxportError: as ``write_whole``.
        """
        renewed = replace(record, size_bytes=facts["size_bytes"], modified=facts["modified"])
        self._keep(recording, renewed)
        return renewed

    def _keep(self, recording: Recording, record: Record) -> None:
        write_whole(self.output / FOLDER, {_name(recording): record.to_json()})


# What the work and ``with_facts`` say of a recording.
_FACTS = (
    *("content_sha256", "size_bytes", "modified", "duration_s", "seconds", "turns"),
    "artifacts",
)


def configuration_sha256(configuration: Mapping[str, Any]) -> str:
    """Of the same choices always the same, in whatever order they are given."""
    return _sha256(json.dumps(configuration, sort_keys=True, allow_nan=False))


def _name(recording: Recording) -> str:
    return f"{recording.stem}.json"


def _has(path: Path, sha256: str) -> bool:
    try:
        return _sha256(path.read_bytes()) == sha256
    except (OSError, ValueError):
        return False


def _sha256(content: str | bytes) -> str:
    return hashlib.sha256(content if isinstance(content, bytes) else content.encode()).hexdigest()
