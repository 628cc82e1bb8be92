"""A diarization as work on recordings: what goes to other processes, and what results depend on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..artifact_choice import loadable
from ..locate import find_models, first_embedding
from ..manifest import MANIFEST_NAME, Manifest
from ..options import DEFAULT_OPTIONS, Options
from ..recordings.outcome import Answer, Work
from ..recordings.turns_files import turns_contents
from ..segmenter import SEGMENTATIONS
from ..stages import Plda, SpeakerBounds
from .settings import Settings

if TYPE_CHECKING:
    from ..audio_source import AudioSource
    from ..recordings.files import Recording
    from ..recordings.progress_bar import ProgressBar
    from .result import DiarizationResult


@dataclass(frozen=True)
class DiarizationWork:
    """How recordings are diarized, and what is made of their turns; picklable.

    Attributes:
        formats: of turns, by name; see ``format_turns``.
        exclusive: one speaker at a time.
        plot: a timeline too, as SVG.
        bounds: what is known of all recordings; of one that knows its number, that counts.
        models: folder with the artifacts; likewise what follows: see ``Diarizer``.
    """

    formats: tuple[str, ...] = ("rttm",)
    exclusive: bool = False
    plot: bool = False
    bounds: SpeakerBounds = field(default_factory=SpeakerBounds)
    models: Path | None = None
    device: str = "auto"
    precision: str = "auto"
    embedding: str | None = None
    settings: Settings = field(default_factory=Settings)
    fallback: bool = False
    threads: int | None = None
    options: Options = DEFAULT_OPTIONS

    @contextmanager
    def opened(self) -> Iterator[Work]:
        """The work, with its networks loaded.

        Raises:
            VoxportError: as ``Diarizer``.
        """
        from .diarizer import Diarizer  # noqa: PLC0415 -- loads the networks' libraries

        with Diarizer(
            models=self.models,
            device=self.device,
            precision=self.precision,
            embedding=self.embedding,
            settings=self.settings,
            fallback=self.fallback,
            threads=self.threads,
            options=self.options,
        ) as diarizer:

            def work(recording: Recording, audio: AudioSource, bar: ProgressBar) -> Answer:
                known = self._bounds(recording)
                return self._answer(recording, diarizer(audio, **asdict(known), progress=bar))

            yield work

    def _bounds(self, recording: Recording) -> SpeakerBounds:
        own = recording.num_speakers
        return self.bounds if own is None else replace(self.bounds, num_speakers=own)

    def _answer(self, recording: Recording, result: DiarizationResult) -> Answer:
        turns = result.exclusive_turns if self.exclusive else result.turns
        plot_s = result.duration_s if self.plot else None
        record = {
            "duration_s": result.duration_s,
            "seconds": result.seconds,
            "turns": [(turn.start_s, turn.end_s, turn.speaker) for turn in turns],
            "artifacts": [asdict(each) for each in result.artifacts],
        }
        return Answer(turns_contents(turns, self.formats, recording, plot_s), record=record)

    def configuration(self) -> dict[str, Any]:
        """All that results depend on, besides the recording; what only makes them faster is not.

        Of the artifacts those that may be loaded for this device and precision on this machine.

        Raises:
            ArtifactNotFoundError, ArtifactError: no networks, or a damaged manifest.
        """
        folder = find_models(self.models)
        names = (SEGMENTATIONS, (self.embedding or first_embedding(folder),))
        manifest = Manifest.read(folder / MANIFEST_NAME).artifacts
        rows = [
            row
            for each in names
            for row in loadable(manifest, each, self.device, self.precision, fallback=self.fallback)
        ]
        settings = {**asdict(self.settings), "plda": _plda_sha256(self.settings.plda)}
        return {
            "voxport": version("voxport"),
            "artifacts": {"/".join(row.key): row.sha256 for row in rows},
            "precision": self.precision,
            "settings": settings,
            "speakers": asdict(self.bounds),
            "exclusive": self.exclusive,
            "formats": sorted(self.formats),
            "plot": self.plot,
        }


def _plda_sha256(plda: Plda | None) -> str | None:
    if plda is None:
        return None
    arrays = (plda.mean, plda.lda, plda.lda_mean, plda.centre, plda.basis, plda.phi)
    return sha256(b"".join(each.tobytes() for each in arrays)).hexdigest()
