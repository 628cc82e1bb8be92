"""From audio of any length to VGGish embeddings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ..audio_source import AudioSource
from ..closing import Closing
from ..diarization.progress import Hook, Progress, Stopwatch
from ..diarization.result import Used
from ..errors import ArtifactError
from ..in_order import timed
from ..inputs import Arrays
from ..session import Session
from ..windows import AudioWindows, WindowPlan
from .embeddings import VggishEmbeddings

FloatArray = npt.NDArray[np.float32]


class VggishEmbedder(Closing):
    """Embeds audio of any length and rate, in stereo too: an example for every 0.96 s.

    Examples are cut as Google's implementation cuts them: frames of 25 ms every 10 ms from the
    first sample on, 96 to an example, so that an example hears 0.975 s. Audio that fills no whole
    example gives none: anything shorter than 0.975 s has no embedding, and a remark says so.
    Silence has an embedding as any other sound does.

    Args:
        session: the artifact ``vggish``, which is closed with the embedder.

    Raises:
        ArtifactError: another artifact.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        recipe = session.description.recipe
        self._outputs = tuple(spec.name for spec in session.description.outputs)
        sizes = tuple(
            _size(recipe, name, session)
            for name in ("sample_rate_hz", "window_samples", "step_samples", "embedding_size")
        )
        self.sample_rate_hz, self._window, self._step, self.embedding_size = sizes
        if "embeddings" not in self._outputs:
            raise ArtifactError(f"{session.description.name} gives no embeddings: it is no VGGish")

    @property
    def device(self) -> str:
        """Where it runs: "cpu", "cuda:0", "coreml"."""
        return self._session.device

    @property
    def artifact(self) -> Used:
        """What embeddings are made with."""
        return Used.of(self._session)

    def __call__(
        self,
        audio: AudioSource,
        *,
        source_rate_hz: int | None = None,
        progress: Hook | None = None,
    ) -> VggishEmbeddings:
        """Embed a file, a file object or samples.

        Args:
            audio: see ``read_audio``; long files are streamed, whatever their length.
            source_rate_hz: of samples given as an array.
            progress: called after every example, with the stage "embedding".

        Raises:
            AudioError: the audio cannot be used.
        """
        watch = Stopwatch()
        plan = WindowPlan(self._window, self._step, self._session.batch_size)
        windows = AudioWindows(
            audio, self.sample_rate_hz, plan, source_rate_hz=source_rate_hz, cache_samples=0
        )
        examples = _Examples(windows, self._window, watch)
        rows: list[Arrays] = []
        for outputs in self._session.run_batched(examples):
            rows.append({name: array[0] for name, array in outputs.items()})
            if progress is not None:
                progress(self._progress(len(rows), windows.num_samples, watch))
        return self._result(rows, examples.num_samples, watch)

    def _progress(self, done: int, total: int | None, watch: Stopwatch) -> Progress:
        rate = self.sample_rate_hz
        total_s = None if total is None else total / rate
        return Progress("embedding", done * self._step / rate, total_s, watch.elapsed_s)

    def _result(self, rows: list[Arrays], num_samples: int, watch: Stopwatch) -> VggishEmbeddings:
        starts_s = np.arange(len(rows), dtype=np.float64) * self._step / self.sample_rate_hz
        window_s = self._window / self.sample_rate_hz
        duration_s = num_samples / self.sample_rate_hz
        remark = f"{duration_s:.3f} s of audio, but an example takes {window_s:g} s: no embedding"
        quantised = self._stacked("quantised", rows)
        return VggishEmbeddings(
            vectors=self._joined("embeddings", rows),
            starts_s=starts_s,
            ends_s=starts_s + window_s,
            duration_s=duration_s,
            artifact=self.artifact,
            whitened=self._stacked("whitened", rows),
            quantised=None if quantised is None else quantised.astype(np.uint8),
            remarks=() if rows else (remark,),
            seconds={**watch.seconds, "total": watch.elapsed_s},
        )

    def _stacked(self, name: str, rows: list[Arrays]) -> FloatArray | None:
        return self._joined(name, rows) if name in self._outputs else None

    def _joined(self, name: str, rows: list[Arrays]) -> FloatArray:
        none = np.zeros((0, self.embedding_size), np.float32)
        return np.stack([row[name] for row in rows]) if rows else none

    def close(self) -> None:
        """Give back the network's memory."""
        self._session.close()


class _Examples:
    """The samples of whole examples, (1, window_samples) each; counts all samples meanwhile."""

    def __init__(self, windows: AudioWindows, window_samples: int, watch: Stopwatch) -> None:
        self._windows, self._window, self._watch = windows, window_samples, watch
        self.num_samples = 0

    def __iter__(self) -> Iterator[FloatArray]:
        for block in timed(self._windows, lambda: self._watch.stage("reading")):
            self.num_samples = int(block.starts[-1] + block.num_valid[-1])
            for samples, num_valid in zip(block.windows, block.num_valid, strict=True):
                if num_valid == self._window:
                    yield samples[None]


def _size(recipe: dict[str, Any], name: str, session: Session) -> int:
    value = recipe.get(name)
    if not isinstance(value, int) or value < 1:
        raise ArtifactError(f"{session.description.name} has {name} {value!r:.40}: it is no VGGish")
    return value
