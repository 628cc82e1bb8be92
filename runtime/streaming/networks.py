"""The two networks that hear a window: who of its local speakers is active, and their voices."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ..audio_source import FloatArray
from ..errors import ArtifactError
from ..loading import load
from ..locate import find_models, first_embedding
from ..options import Options
from ..session import Session
from ..stages import FrameGrid, embedding_masks

SEGMENTATION = "segmentation_masks"


@dataclass(frozen=True)
class HeardWindow:
    """The local speakers of a window.

    Attributes:
        number: of the window, counted from 0.
        first_frame: on the grid of the stream; negative where silence was put before the audio.
        masks: (F, S) uint8 of 0 and 1.
        embeddings: (S, D) float32; NaN for a local speaker who is silent.
    """

    number: int
    first_frame: int
    masks: npt.NDArray[np.uint8]
    embeddings: FloatArray

    @property
    def is_padded(self) -> bool:
        """Whether it begins before the audio."""
        return self.first_frame < 0


class WindowNetworks:
    """Segmentation and embeddings, window by window.

    Args:
        models, device, precision, fallback, options: see ``load``.
        embedding: name of the embedding artifact; the folder's first one where None.

    Raises:
        ArtifactNotFoundError, ArtifactError, DeviceError, MissingDependencyError: as ``load``.
    """

    def __init__(  # noqa: PLR0913 -- as ``load``
        self,
        *,
        models: str | os.PathLike[str] | None,
        device: str,
        precision: str,
        embedding: str | None,
        fallback: bool,
        options: Options,
    ) -> None:
        folder = find_models(models)
        # As in ``Diarizer``: an LSTM gains nothing from a second thread.
        chosen = replace(options, intra_op_threads=options.intra_op_threads or 1)
        self._segmentation, self._embedding = (
            load(
                name,
                device=device,
                precision=precision,
                models=folder,
                fallback=fallback,
                options=chosen,
            )
            for name in (SEGMENTATION, embedding or first_embedding(folder))
        )
        self.grid = FrameGrid.from_description(self._segmentation.description)
        described = self._embedding.description
        self._size = described.figure("embedding_size", int)
        rate_hz = described.figure("sample_rate_hz", int)
        if rate_hz != self.grid.sample_rate_hz:
            raise ArtifactError(
                f"{described.name} takes audio at {rate_hz} Hz, but {SEGMENTATION} at "
                f"{self.grid.sample_rate_hz} Hz: they do not belong together"
            )

    def threshold(self) -> float:
        """The clustering threshold that is stored with the embedding artifact.

        Raises:
            ArtifactError: there is none.
        """
        return self._embedding.description.figure("clustering_threshold", float)

    def hear(self, number: int, start: int, waveform: FloatArray) -> HeardWindow:
        """What is said in a window.

        Args:
            number: of the window.
            start: its first sample; negative if so many zeros come first.
            waveform: (window_samples,) float32.

        Raises:
            VoxportError: a network failed.
        """
        masks = _only(self._segmentation, {"waveform": waveform[None]}, "masks").astype(np.uint8)
        # Rounded as the grid rounds, which knows no time before 0.
        offset = int(np.sign(start)) * int(self.grid.window_offsets(np.array([abs(start)]))[0])
        masks[: max(0, -offset)] = 0
        weights = embedding_masks(masks[None], self.grid.window_samples)[0]
        active = weights.any(axis=1)
        embeddings = np.full((len(weights), self._size), np.nan, np.float32)
        if active.any():
            item = {"waveform": waveform[None], "masks": weights}
            embeddings[active] = _only(self._embedding, item, "embeddings")[active]
        return HeardWindow(number, offset, masks, embeddings)

    def close(self) -> None:
        """Give back the networks' memory."""
        self._segmentation.close()
        self._embedding.close()


def _only(session: Session, item: dict[str, FloatArray], output: str) -> FloatArray:
    """One item through a network, whatever batches it takes."""
    (outputs,) = session.run_batched([item], batch_size=1)
    return outputs[output]
