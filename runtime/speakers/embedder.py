"""From audio to embeddings of its speakers, whatever its length."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ..annotation.spans import Span, total_s
from ..annotation.turns import Turns
from ..audio_source import AudioSource
from ..closing import Closing
from ..detection import SpeechDetector
from ..diarization.progress import Hook, Progress, Stopwatch
from ..diarization.result import Used
from ..errors import AudioError, OptionsError
from ..in_order import map_in_order, timed
from ..loading import load
from ..locate import find_models, first_embedding
from ..options import DEFAULT_OPTIONS, Options
from ..several.workers import workers_for
from ..stages import to_turns
from ..windows import AudioWindows, WindowPlan
from .embeddings import Embeddings
from .pieces import Masks, Piece, pieces
from .pooling import FRAMES_PER_S, Part, PooledNetwork
from .voices import Per, Voice, check_times, voices_of

FloatArray = npt.NDArray[np.float32]


class SpeakerEmbedder(Closing):
    """Embeddings of speakers, in recordings of any length.

    The rule: audio is cut into windows of 10 s side by side (the last one reaches back to be
    whole; a shorter recording is one window of its own length). In each, the network runs once and
    pools under a mask for each voice, of the frames in which it speaks. An embedding is the mean
    of a voice's unit vectors, weighted by its seconds of speech in each window, of unit length
    again. Windows in which a voice has no more speech than the network's shortest input (25 ms)
    do not count. Memory does not grow with the length of the audio.
    """

    def __init__(  # noqa: PLR0913 -- one keyword for each choice
        self,
        *,
        models: str | os.PathLike[str] | None = None,
        device: str = "auto",
        precision: str = "auto",
        embedding: str | None = None,
        fallback: bool = False,
        threads: int | None = None,
        options: Options = DEFAULT_OPTIONS,
        min_speech_s: float = 0.5,
    ) -> None:
        """Load the network; the one that finds speech when it is needed.

        Args:
            models: folder with the artifacts; see ``load``.
            device: see ``load``.
            precision: of the networks; see ``load``.
            embedding: name of the embedding artifact; the folder's first one where None.
            fallback: see ``load``.
            threads: windows at a time on the CPU; None: one for each core. The answer does not
                depend on it.
            options: see ``load``; on the CPU the network runs on one thread for each window
                unless it says otherwise.
            min_speech_s: a voice with less speech has no embedding, in seconds.

        Raises:
            ArtifactNotFoundError, ArtifactError, DeviceError, MissingDependencyError: as ``load``.
            OptionsError: a number out of range.
        """
        if threads is not None and threads < 1:
            raise OptionsError(f"threads must be 1 or more, got {threads}")
        if not 0 <= min_speech_s < math.inf:
            raise OptionsError(f"min_speech_s must be 0 or more, got {min_speech_s}")
        self.min_speech_s = min_speech_s
        self._models = find_models(models)
        self._device, self._precision, self._fallback = device, precision, fallback
        self._threads, self._options = threads, options
        self._session = load(
            embedding or first_embedding(self._models),
            device=device,
            precision=precision,
            models=self._models,
            fallback=fallback,
            options=replace(options, intra_op_threads=options.intra_op_threads or 1),
        )
        self._detector: SpeechDetector | None = None
        self._network = PooledNetwork(self._session)
        self._workers = workers_for(self._session, threads)

    @property
    def sample_rate_hz(self) -> int:
        """What audio is resampled to."""
        return self._network.rate_hz

    @property
    def artifact(self) -> Used:
        """The embedding network."""
        return Used.of(self._session)

    @property
    def same_speaker_distance(self) -> float:
        """Cosine distance below which two embeddings count as one voice, as the artifact has it.

        Raises:
            ArtifactError: it has none.
        """
        return self._session.description.figure("same_speaker_distance", float)

    def embed(  # noqa: PLR0913 -- what may be known about a recording
        self,
        audio: AudioSource,
        turns: Turns | None = None,
        *,
        per: Per = "speaker",
        label: str = "SPEAKER_00",
        source_rate_hz: int | None = None,
        progress: Hook | None = None,
    ) -> Embeddings:
        """The voices of a file, a file object or samples.

        With ``turns`` there is one embedding per speaker or per turn, of what it says while
        nobody else does; of all it says where that is less than ``min_speech_s``. Without, the
        recording is taken for one person's: its embedding is that of the frames in which the
        segmentation network hears one speaker, so that silence does not enter it. Where those are
        too few, all speech is taken, and a remark says so.

        Args:
            audio: see ``read_audio``; long files are streamed, whatever their length, and read
                twice without ``turns``.
            turns: who speaks when.
            per: "speaker" or "segment", which is a turn.
            label: of the embedding where there are no ``turns``.
            source_rate_hz: of samples given as an array.
            progress: called after every window, with the stage "embedding"; before, while speech
                is looked for, with "windows".

        Returns:
            A row of NaN for a voice that has too little speech.

        Raises:
            AudioError: the audio cannot be used, or, without ``turns``, holds less speech than
                ``min_speech_s``.
            AnnotationError: a turn begins where the audio has ended.
            OptionsError: no such ``per``.
        """
        if per not in ("speaker", "segment"):
            raise OptionsError(f"per must be 'speaker' or 'segment', got {per!r:.40}")
        watch = Stopwatch()
        remarks: tuple[str, ...] = ()
        if turns is not None:
            voices = voices_of(turns, per, self.min_speech_s)
        else:
            with watch.stage("detection"):
                voice, remarks = self._only_voice(audio, label, source_rate_hz, progress)
            voices = [voice]
        window = self._network.window_samples
        windows = AudioWindows(
            audio,
            self.sample_rate_hz,
            WindowPlan(window, window, 1),
            source_rate_hz=source_rate_hz,
            cache_samples=0,
        )
        sums, speech_s, end = self._sums(windows, voices, watch, progress)
        duration_s = end / self.sample_rate_hz
        enough = speech_s >= self._least_s
        check_times(voices, duration_s, _name(audio))
        if turns is None and not enough[0]:
            raise AudioError(
                f"{_name(audio)}: holds {speech_s[0]:.2f} s of speech, but an embedding needs "
                f"{self.min_speech_s:g} s"
            )
        return Embeddings(
            vectors=_unit(sums, enough),
            labels=tuple(voice.label for voice in voices),
            starts_s=np.array([voice.start_s for voice in voices], np.float64),
            ends_s=np.array([voice.end_s for voice in voices], np.float64),
            speech_s=speech_s,
            duration_s=duration_s,
            artifact=self.artifact,
            remarks=remarks,
            seconds={**watch.seconds, "total": watch.elapsed_s},
        )

    def _only_voice(
        self, audio: AudioSource, label: str, source_rate_hz: int | None, progress: Hook | None
    ) -> tuple[Voice, tuple[str, ...]]:
        """The voice of a recording of one person."""
        detector = self._loaded_detector()
        found = detector(audio, source_rate_hz=source_rate_hz, progress=progress)
        single = to_turns((found.speaker_count == 1)[:, None], detector.grid, names={0: label})
        alone = _spans(Turns(single).crop(0, found.duration_s))
        everything = _spans(found.speech)
        if total_s(alone) >= self.min_speech_s:
            return Voice(label, 0.0, found.duration_s, alone), ()
        if total_s(everything) < self.min_speech_s:
            return Voice(label, 0.0, found.duration_s, everything), ()
        remark = (
            f"only {total_s(alone):.1f} s in which one person speaks: all speech was taken, "
            "voices may be mixed"
        )
        return Voice(label, 0.0, found.duration_s, everything), (remark,)

    def _loaded_detector(self) -> SpeechDetector:
        if self._detector is None:
            self._detector = SpeechDetector(
                models=self._models,
                device=self._device,
                precision=self._precision,
                fallback=self._fallback,
                threads=self._threads,
                options=self._options,
            )
        return self._detector

    def _sums(
        self,
        windows: AudioWindows,
        voices: Sequence[Voice],
        watch: Stopwatch,
        progress: Hook | None,
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], int]:
        """Weighted sums (N, D) of unit vectors, seconds of speech (N,), and the audio's end."""
        masks = Masks(voices, self.sample_rate_hz)
        sums = np.zeros((len(voices), self._network.size))
        seconds, end = np.zeros(len(voices)), 0

        def embedded(piece: Piece) -> Part:
            with watch.stage("embedding"):
                return self._network(piece, masks)

        read = timed(windows, lambda: watch.stage("reading"))
        cut = pieces(read, padded=self._network.padded)
        with closing(map_in_order(embedded, cut, self._workers)) as coming:
            for part in coming:
                sums[part.voices] += part.seconds[:, None] * part.units
                seconds[part.voices] += part.seconds
                end = part.end
                self._tell(progress, end, windows.num_samples, watch)
        return sums, seconds, end

    @property
    def _least_s(self) -> float:
        # Masks are exact to a frame, and nothing at all is never enough.
        return max(self.min_speech_s - 1 / FRAMES_PER_S, 0.5 / FRAMES_PER_S)

    def _tell(self, progress: Hook | None, done: int, total: int | None, watch: Stopwatch) -> None:
        if progress is not None:
            rate = self.sample_rate_hz
            total_s = None if total is None else total / rate
            progress(Progress("embedding", done / rate, total_s, watch.elapsed_s))

    def close(self) -> None:
        """Give back the networks' memory."""
        self._session.close()
        if self._detector is not None:
            self._detector.close()


def _name(audio: AudioSource) -> str:
    """How errors of reading it begin."""
    if isinstance(audio, np.ndarray):
        return "array"
    if isinstance(audio, (str, os.PathLike)):
        return str(audio)
    label = getattr(audio, "name", None)
    return label if isinstance(label, str) else f"<{type(audio).__name__}>"


def _spans(turns: Turns) -> tuple[Span, ...]:
    return tuple(Span(turn.start_s, turn.end_s) for turn in turns)


def _unit(sums: npt.NDArray[np.float64], enough: npt.NDArray[np.bool_]) -> FloatArray:
    """(N, D) -> (N, D) float32 of unit length; NaN where there is not enough, or no direction."""
    norms = np.linalg.norm(sums, axis=1)
    known = enough & (norms > 0)
    vectors = np.full(sums.shape, np.nan, np.float32)
    vectors[known] = (sums[known] / norms[known, None]).astype(np.float32)
    return vectors
