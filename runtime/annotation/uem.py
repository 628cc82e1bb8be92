"""UEM: which parts of a recording are scored. Read with suspicion, as RTTM is."""

from __future__ import annotations

from ..errors import AnnotationError
from .lines import Source, records
from .seconds import parse_seconds
from .spans import Span, covered
from .turns import MAX_S

MAX_SPANS = 200_000
# file, channel, begin, end
_COLUMNS = 4


def read_uem(source: Source) -> dict[str, tuple[Span, ...]]:
    """The scored spans of every file, sorted and apart from each other, by file id.

    Args:
        source: a path, or an open text file.

    Raises:
        AnnotationError: a line that is not UEM, with its file and number; more than 200,000 of
            them; a file that cannot be read.
    """
    found: dict[str, list[Span]] = {}
    for count, (place, columns) in enumerate(records(source)):
        if count >= MAX_SPANS:
            raise AnnotationError(f"{place}: more than {MAX_SPANS} spans")
        try:
            found.setdefault(columns[0], []).append(_span(columns))
        except AnnotationError as error:
            raise AnnotationError(f"{place}: {error}") from error
    return {file_id: covered(spans) for file_id, spans in found.items()}


def _span(columns: list[str]) -> Span:
    if len(columns) < _COLUMNS:
        raise AnnotationError(f"expected {_COLUMNS} columns, got {len(columns)}")
    times = [parse_seconds(text) for text in columns[2:4]]
    start_s, end_s = (float("nan") if time is None else float(time) for time in times)
    if not 0 <= start_s < end_s <= MAX_S:
        raise AnnotationError(
            f"expected begin and end in seconds, got {columns[2]!a:.80} and {columns[3]!a:.80}"
        )
    return Span(start_s, end_s)
