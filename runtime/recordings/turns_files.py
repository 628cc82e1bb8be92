"""Turns as the contents of files."""

from __future__ import annotations

from collections.abc import Iterable

from ..annotation.formats import format_turns
from ..annotation.timeline import timeline_svg
from ..annotation.turns import Turns
from .files import Recording


def turns_contents(
    turns: Turns, formats: Iterable[str], recording: Recording, plot_s: float | None = None
) -> dict[str, str]:
    """Turns in every format, by the ending of a file's name.

    With ``plot_s``, the seconds of the recording, there is a picture too.

    Raises:
        AnnotationError: a label that a format cannot hold.
    """
    contents = {name: format_turns(turns, name, recording.file_id) for name in formats}
    if plot_s is not None:
        contents["svg"] = timeline_svg(turns, plot_s, recording.stem)
    return contents
