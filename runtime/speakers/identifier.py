"""Who spoke when, by name: a diarization, and known speakers among its own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ..annotation.turns import Turns
from ..audio_source import AudioSource
from ..closing import Closing
from ..diarization import DiarizationResult, Diarizer, Settings
from ..diarization.progress import Hook
from ..diarization.result import Used
from ..errors import ArtifactError, OptionsError
from ..loading import load
from ..locate import find_models
from ..options import DEFAULT_OPTIONS, Options
from ..session import Session
from .database import SpeakerDatabase
from .embedder import SpeakerEmbedder
from .embeddings import Embeddings
from .matching import matched

POST_EMBEDDING = "post_embedding"


@dataclass(frozen=True)
class IdentifiedSpeaker:
    """A speaker of a recording.

    Attributes:
        diarized_as: what the diarization calls it.
        name: who it is; None if nobody known.
        distances: cosine distances to all known speakers, by name; none if it says too little.
        speech_s: seconds of speech that it was compared by.
    """

    diarized_as: str
    name: str | None
    distances: Mapping[str, float]
    speech_s: float

    @property
    def label(self) -> str:
        """What its turns are labelled."""
        return self.diarized_as if self.name is None else self.name


@dataclass(frozen=True)
class Identification:
    """The answer of a ``SpeakerIdentifier``.

    Attributes:
        turns: who speaks from when to when: names, and SPEAKER_00, ... for unknown ones.
        exclusive_turns: the same with one speaker at a time.
        speakers: all of them, in the order of the diarization's labels.
        threshold: the cosine distance from which on a speaker stayed unknown.
        diarization: what the names were given to.
        artifacts: what was used.
    """

    turns: Turns
    exclusive_turns: Turns
    speakers: tuple[IdentifiedSpeaker, ...]
    threshold: float
    diarization: DiarizationResult
    artifacts: tuple[Used, ...]


class SpeakerIdentifier(Closing):
    """Names for the speakers of recordings.

    A recording is diarized; each of its speakers gets an embedding of all that it says alone, as
    those were made that it is compared with; the ``post_embedding`` artifact gives cosine
    distances, and says who speaks too little to be judged (10 frames at most, or no segment of
    1 s, by its own figures): they stay unknown. The others are matched one to one, below the
    threshold.
    """

    def __init__(  # noqa: PLR0913 -- one keyword for each choice
        self,
        database: SpeakerDatabase,
        *,
        models: str | os.PathLike[str] | None = None,
        device: str = "auto",
        precision: str = "auto",
        settings: Settings | None = None,
        fallback: bool = False,
        threads: int | None = None,
        options: Options = DEFAULT_OPTIONS,
        threshold: float | None = None,
    ) -> None:
        """Load the networks.

        Args:
            database: who is known; it names the embedding artifact.
            models: folder with the artifacts; see ``load``.
            device: see ``load``.
            precision: of the networks; see ``load``.
            settings: of the diarization.
            fallback: see ``load``.
            threads: see ``Diarizer``.
            options: see ``load``.
            threshold: cosine distance from which on a speaker stays unknown, above 0 and up to 2;
                None: the embedding artifact's own.

        Raises:
            ArtifactNotFoundError, ArtifactError, DeviceError, MissingDependencyError: as ``load``.
                ``ArtifactError`` too if ``post_embedding`` is made for frames of another length.
            SpeakerDatabaseError: the database is by another artifact.
            OptionsError: a threshold out of range, or what ``Diarizer`` says.
        """
        if threshold is not None and not 0 < threshold <= 2:
            raise OptionsError(
                f"threshold is a cosine distance, above 0 and up to 2, got {threshold}"
            )
        self.database = database
        self.threshold = database.same_speaker_distance if threshold is None else threshold
        folder = find_models(models)
        # A few operations: on the CPU they take less than the way to another device.
        self._post = load(POST_EMBEDDING, device="cpu", models=folder, options=options)
        self._embedder = SpeakerEmbedder(
            models=folder,
            device=device,
            precision=precision,
            embedding=database.artifact.name,
            fallback=fallback,
            threads=threads,
            options=options,
            min_speech_s=min_speech_s(self._post),
        )
        database.check(self._embedder.artifact)
        self._diarizer = Diarizer(
            models=folder,
            device=device,
            precision=precision,
            embedding=database.artifact.name,
            settings=settings,
            fallback=fallback,
            threads=threads,
            options=options,
        )
        self._check_hop(self._diarizer.grid.hop_s)

    def __call__(  # noqa: PLR0913 -- what may be known about a recording
        self,
        audio: AudioSource,
        *,
        source_rate_hz: int | None = None,
        num_speakers: int | None = None,
        min_speakers: int | None = None,
        max_speakers: int | None = None,
        progress: Hook | None = None,
    ) -> Identification:
        """Diarize a recording and name its speakers.

        Args:
            audio: see ``read_audio``; it is read twice.
            source_rate_hz: of samples given as an array.
            num_speakers: how many there are, if it is known.
            min_speakers: the fewest there may be.
            max_speakers: the most there may be.
            progress: called after every block; see ``Diarizer`` and ``SpeakerEmbedder``.

        Raises:
            AudioError: the audio cannot be used.
            OptionsError: contradictory numbers of speakers.
        """
        diarized = self._diarizer(
            audio,
            source_rate_hz=source_rate_hz,
            num_speakers=num_speakers,
            min_speakers=min_speakers,
            max_speakers=max_speakers,
            progress=progress,
        )
        speakers: tuple[IdentifiedSpeaker, ...] = ()
        if diarized.turns:
            embeddings = self._embedder.embed(
                audio, diarized.turns, source_rate_hz=source_rate_hz, progress=progress
            )
            speakers = self._identified(diarized, embeddings)
        labels = {each.diarized_as: each.label for each in speakers}
        return Identification(
            turns=_relabelled(diarized.turns, labels),
            exclusive_turns=_relabelled(diarized.exclusive_turns, labels),
            speakers=speakers,
            threshold=self.threshold,
            diarization=diarized,
            artifacts=(*diarized.artifacts, Used.of(self._post)),
        )

    def _identified(
        self, diarized: DiarizationResult, embeddings: Embeddings
    ) -> tuple[IdentifiedSpeaker, ...]:
        """All speakers; those who are heard enough with their distances, and a name if any."""
        distances, heard = self._distances(diarized, embeddings)
        judged = np.flatnonzero(heard).tolist()
        owners = dict(zip(judged, matched(distances[judged], self.threshold), strict=True))
        names = self.database.names
        found = []
        for row, label in enumerate(embeddings.labels):
            owner = owners.get(row)
            name = None if owner is None else names[owner]
            known = dict(zip(names, distances[row].tolist(), strict=True)) if row in owners else {}
            found.append(IdentifiedSpeaker(label, name, known, float(embeddings.speech_s[row])))
        return tuple(found)

    def _distances(
        self, diarized: DiarizationResult, embeddings: Embeddings
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """(S, M) distances, and (S,) who is heard enough for them to mean something."""
        known = ~np.isnan(embeddings.vectors[:, 0])
        segments = activity(diarized, embeddings.labels)
        outputs = self._post.run(
            # Zeros are at distance 1 from everything.
            embeddings=np.where(known[:, None], embeddings.vectors, np.float32(0)),
            database=self._known_vectors(embeddings),
            segments=segments[None],
        )
        long_enough = outputs["filtered_segments"][0].max(axis=0) > 0
        return outputs["distances"], known & (outputs["valid"] > 0) & long_enough

    def _known_vectors(self, embeddings: Embeddings) -> npt.NDArray[np.float32]:
        if not len(self.database):
            return np.zeros((0, embeddings.vectors.shape[1]), np.float32)
        return self.database.vectors

    def _check_hop(self, hop_s: float) -> None:
        step_s = self._post.description.figure("step_s", float)
        # Both are quotients of whole numbers of samples.
        if abs(step_s - hop_s) > 1e-9:
            raise ArtifactError(
                f"{POST_EMBEDDING} is made for frames of {step_s} s, but the segmentation has "
                f"{hop_s} s: they do not belong together"
            )

    def close(self) -> None:
        """Give back the networks' memory."""
        self._post.close()
        self._embedder.close()
        self._diarizer.close()


def min_speech_s(post_embedding: Session) -> float:
    """The shortest speech that the artifact takes seriously, in seconds.

    Raises:
        ArtifactError: it does not say.
    """
    return post_embedding.description.figure("min_duration_s", float)


def activity(diarized: DiarizationResult, labels: tuple[str, ...]) -> npt.NDArray[np.float32]:
    """(frames, S) of 0 and 1: which of the labels' speakers are active when."""
    columns = {label: column for column, label in enumerate(labels)}
    segments = np.zeros((len(diarized.speaker_count), len(labels)), np.float32)
    for turn in diarized.turns:
        # Turns begin and end at the middles of frames: the same shift for both.
        first, last = (round(time_s / diarized.hop_s) for time_s in (turn.start_s, turn.end_s))
        segments[first:last, columns[turn.speaker]] = 1
    return segments


def _relabelled(turns: Turns, labels: Mapping[str, str]) -> Turns:
    return Turns(replace(turn, speaker=labels[turn.speaker]) for turn in turns)
