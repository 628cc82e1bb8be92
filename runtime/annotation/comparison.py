"""Files and folders of RTTM, matched by file id and scored."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import AnnotationError
from .rttm import file_id_of, read_rttm
from .scoring import Score, score, total
from .spans import Span
from .turns import Turns
from .uem import read_uem

_SUFFIX = ".rttm"
_NAMED = 5

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Comparison:
    """Scores by file id, sorted, and the ids that had no counterpart."""

    scores: dict[str, Score]
    only_in_reference: tuple[str, ...] = ()
    only_in_hypothesis: tuple[str, ...] = ()
    not_in_uem: tuple[str, ...] = ()

    @property
    def total(self) -> Score:
        """All files together."""
        return total(self.scores.values())


def compare(
    reference: PathLike,
    hypothesis: PathLike,
    uem: PathLike | None = None,
    *,
    collar_s: float = 0.0,
    skip_overlap: bool = False,
) -> Comparison:
    """Score every file of the reference.

    A file that the hypothesis lacks counts as missed altogether, as in ``dscore``: leaving it out
    would be rewarded otherwise. One that the reference lacks is not scored, since nothing is
    known of it; nor is one that the UEM lacks. All three are named.

    Args:
        reference: an RTTM file, or a folder of ``.rttm`` files.
        hypothesis: likewise.
        uem: a UEM file: only its spans are scored.
        collar_s: as for ``score``.
        skip_overlap: as for ``score``.

    Raises:
        AnnotationError: a file that cannot be read or is not RTTM, an id in two files of a
            folder, or nothing to score: no file, or none that is in both.
        OptionsError: a collar that is negative or not finite.
    """
    truth, judged = read_annotations(reference), read_annotations(hypothesis)
    _check_matching(truth, judged)
    scored = None if uem is None else read_uem(uem)
    names = sorted(truth if scored is None else truth.keys() & scored.keys())
    if not names:
        raise AnnotationError(f"{uem} names no file of the reference: {_some(truth)}")
    scores = {
        name: score(
            truth[name],
            judged.get(name, Turns()),
            _spans(scored, name),
            collar_s=collar_s,
            skip_overlap=skip_overlap,
        )
        for name in names
    }
    return Comparison(
        scores,
        only_in_reference=tuple(name for name in names if name not in judged),
        only_in_hypothesis=tuple(sorted(judged.keys() - truth.keys())),
        not_in_uem=tuple(sorted(truth.keys() - set(names))),
    )


def read_annotations(path: PathLike) -> dict[str, Turns]:
    """The turns of an RTTM file, or of all ``.rttm`` files of a folder, by file id.

    A file without any turn stands for a recording without speech, whose id is the file's name.

    Raises:
        AnnotationError: a file that cannot be read or is not RTTM, an id in two files, or a
            folder without an RTTM file.
    """
    if not Path(path).is_dir():
        return _read(Path(path))
    try:
        files = sorted(file for file in Path(path).iterdir() if file.suffix == _SUFFIX)
    except OSError as error:
        raise AnnotationError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not files:
        raise AnnotationError(f"{path}: no {_SUFFIX} file in this folder")
    found: dict[str, Turns] = {}
    origin: dict[str, str] = {}
    for file in files:
        for name, turns in _read(file).items():
            if name in found:
                raise AnnotationError(f"{path}: {name} is in {origin[name]} and in {file.name}")
            found[name], origin[name] = turns, file.name
    return found


def _read(path: Path) -> dict[str, Turns]:
    return read_rttm(path) or {file_id_of(path): Turns()}


def _check_matching(truth: dict[str, Turns], judged: dict[str, Turns]) -> None:
    """Nothing in common, although something is said, is a mistake in the ids, not 100 % error."""
    if any(judged.values()) and not truth.keys() & judged.keys():
        raise AnnotationError(
            f"no file id is in both: the reference has {_some(truth)}, "
            f"the hypothesis {_some(judged)}"
        )


def _spans(scored: dict[str, tuple[Span, ...]] | None, name: str) -> Sequence[Span] | None:
    return None if scored is None else scored[name]


def _some(names: Iterable[str]) -> str:
    ordered = sorted(names)
    rest = len(ordered) - _NAMED
    return ", ".join(ordered[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
