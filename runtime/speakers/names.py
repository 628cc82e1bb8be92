"""What an identification found, for files and for people."""

from __future__ import annotations

import json
from collections.abc import Iterable

from ..recordings.files import Recording
from ..recordings.turns_files import turns_contents
from .identifier import Identification, IdentifiedSpeaker


def identified_contents(
    found: Identification,
    formats: Iterable[str],
    recording: Recording,
    *,
    exclusive: bool = False,
    plot: bool = False,
) -> dict[str, str]:
    """The turns in every format, by the ending of a file's name.

    JSON has, besides the keys that all turns have, the threshold and every speaker's distances::

        "identification": {"threshold": 0.42, "speakers": [
            {"speaker": "anna", "diarized_as": "SPEAKER_01", "known": true, "speech_s": 7.5,
             "distances": {"anna": 0.21, "bob": 0.83}}]}

    ``distances`` is empty where a speaker says too little to be judged.
    """
    turns = found.exclusive_turns if exclusive else found.turns
    plot_s = found.diarization.duration_s if plot else None
    contents = turns_contents(turns, formats, recording, plot_s)
    if "json" in contents:
        document = {**json.loads(contents["json"]), "identification": _document(found)}
        contents["json"] = json.dumps(document, indent=1, allow_nan=False) + "\n"
    return contents


def _document(found: Identification) -> dict[str, object]:
    return {
        "threshold": found.threshold,
        "speakers": [
            {
                "speaker": each.label,
                "diarized_as": each.diarized_as,
                "known": each.name is not None,
                "speech_s": each.speech_s,
                "distances": dict(each.distances),
            }
            for each in found.speakers
        ],
    }


def summary(found: Identification) -> str:
    """One line: who is who, by how much, and the threshold."""
    if not found.speakers:
        return "nobody speaks"
    who = ", ".join(map(_described, found.speakers))
    return f"{who}; unknown from a distance of {found.threshold:.2f} on"


def _described(speaker: IdentifiedSpeaker) -> str:
    label = speaker.diarized_as
    if speaker.name is not None:
        return f"{label} is {speaker.name} ({speaker.distances[speaker.name]:.2f})"
    if not speaker.distances:
        return f"{label} says too little to be known"
    nearest = min(speaker.distances, key=speaker.distances.__getitem__)
    return f"{label} is unknown (nearest: {nearest}, {speaker.distances[nearest]:.2f})"
