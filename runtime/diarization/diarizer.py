"""From audio to speaker turns: segmentation, embeddings, clustering, reconstruction."""

from __future__ import annotations

import os
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from importlib import import_module
from threading import Thread
from typing import Self

import numpy as np

from ..annotation.turns import Turns
from ..audio_source import AudioSource
from ..batching import is_batched
from ..closing import Closing
from ..errors import ArtifactError, OptionsError
from ..in_order import timed
from ..loading import load_first
from ..locate import find_models, first_embedding
from ..options import DEFAULT_OPTIONS, Options
from ..segmenter import SEGMENTATIONS, Segmenter, overlap_samples, window_plan
from ..several.workers import regions_at_once, workers_for
from ..stages import (
    AhcOptions,
    Clusters,
    FrameGrid,
    SpeakerBounds,
    VbxOptions,
    ahc_clusters,
    discrete_diarization,
    exclusive,
    rounded,
    speaker_count,
    speaker_names,
    to_turns,
    vbx_clusters,
    within,
)
from ..synthetic import probe_inputs
from ..windows import AudioWindows
from .extraction import Extractor, Local
from .progress import Hook, Progress, Stopwatch
from .result import DiarizationResult, Used
from .settings import Settings


class Diarizer(Closing):
    """Who spoke when, for any audio.

    On the CPU every core segments some windows or embeds a block of its own, each network on one
    thread: an LSTM gains nothing from a second thread. At most half of the cores embed at once,
    since that takes most of the memory. In several sessions on the CPU each works on its own
    processors; of several cards each takes blocks as it is free. The answer does not depend on the
    number of threads, sessions or cards.
    """

    def __init__(  # noqa: PLR0913 -- one keyword for each choice
        self,
        *,
        models: str | os.PathLike[str] | None = None,
        device: str = "auto",
        precision: str = "auto",
        embedding: str | None = None,
        settings: Settings | None = None,
        fallback: bool = False,
        threads: int | None = None,
        options: Options = DEFAULT_OPTIONS,
    ) -> None:
        """Load the networks.

        Args:
            models: folder with the artifacts; see ``load``.
            device: see ``load``.
            precision: of the networks; see ``load``.
            embedding: name of the embedding artifact, e.g. "embedding_campplus"; the folder's
                first one where None.
            settings: how to do it.
            fallback: see ``load``.
            threads: blocks at a time on the CPU; None: one for each core that may be used.
            options: see ``load``; on the CPU the networks run on one thread each unless it says
                otherwise.

        Raises:
            ArtifactNotFoundError, ArtifactError, DeviceError, MissingDependencyError: as ``load``.
            OptionsError: ``threads`` or a setting that the networks cannot meet.
            InputError: the PLDA was trained on embeddings of another size.
        """
        if threads is not None and threads < 1:
            raise OptionsError(f"threads must be 1 or more, got {threads}")
        self.settings = settings or Settings()
        folder = find_models(models)
        chosen = replace(options, intra_op_threads=options.intra_op_threads or 1)
        names = (SEGMENTATIONS, (embedding or first_embedding(folder),))
        # Needed when all audio has been heard, and as slow to import as the networks are to load.
        Thread(target=import_module, args=("scipy.cluster.hierarchy",), daemon=True).start()
        with ThreadPoolExecutor(len(names)) as pool:
            self._segmentation, self._embedding = pool.map(
                lambda each: load_first(
                    each,
                    device=device,
                    precision=precision,
                    models=folder,
                    fallback=fallback,
                    options=chosen,
                ),
                names,
            )
        self._workers = workers_for(self._embedding, threads)
        self.grid = FrameGrid.from_description(self._segmentation.description)
        self._plan = window_plan(self._segmentation, self.settings.step_s, self.settings.block_s)
        self._segmenter = Segmenter(self._segmentation, self._plan.block_windows)
        self._check_embedding()

    @property
    def sample_rate_hz(self) -> int:
        """What audio is resampled to."""
        return self.grid.sample_rate_hz

    def __call__(  # noqa: PLR0913 -- what may be known about a recording
        self,
        audio: AudioSource,
        *,
        source_rate_hz: int | None = None,
        num_speakers: int | None = None,
        min_speakers: int | None = None,
        max_speakers: int | None = None,
        progress: Hook | None = None,
    ) -> DiarizationResult:
        """Diarize a file, a file object or samples.

        Args:
            audio: see ``read_audio``; long files are streamed, whatever their length.
            source_rate_hz: of samples given as an array.
            num_speakers: how many there are, if it is known.
            min_speakers: the fewest there may be.
            max_speakers: the most there may be.
            progress: called after every block.

        Raises:
            AudioError: the audio cannot be used.
            OptionsError: contradictory numbers of speakers.
        """
        watch = Stopwatch()
        bounds = SpeakerBounds(num_speakers, min_speakers, max_speakers)
        extractor = Extractor(
            self._segmenter,
            self._embedding,
            self.settings.mode,
            self._plan.advance + overlap_samples(self.grid),
            watch,
            at_once=regions_at_once(self._embedding, self._workers),
        )
        windows = AudioWindows(
            audio,
            self.sample_rate_hz,
            self._plan,
            source_rate_hz=source_rate_hz,
            cache_samples=0,  # it is read once: to keep it would only cost memory
        )
        parts = []
        with closing(self._parts(windows, extractor, watch)) as coming:
            for part in coming:
                parts.append(part)
                self._tell(progress, "windows", part.num_samples, windows.num_samples, watch)
        local = _joined(parts)
        self._tell(progress, "clustering", 0, local.num_samples, watch)
        result = self._result(local, bounds, extractor.mode, watch)
        self._tell(progress, "clustering", local.num_samples, local.num_samples, watch)
        return result

    def _check_embedding(self) -> None:
        """What would otherwise show only when all audio has been read."""
        described = self._embedding.description
        rate_hz = described.figure("sample_rate_hz", int)
        if rate_hz != self.sample_rate_hz:
            raise ArtifactError(
                f"{described.name} takes audio at {rate_hz} Hz, but "
                f"{self._segmentation.description.name} at {self.sample_rate_hz} Hz: they do not "
                "belong together"
            )
        size = described.figure("embedding_size", int)
        if self.settings.plda is not None:
            self.settings.plda.check_size(size)
        elif self.settings.threshold is None:
            described.figure("clustering_threshold", float)

    def _parts(
        self, windows: AudioWindows, extractor: Extractor, watch: Stopwatch
    ) -> Generator[Local]:
        """The local speakers of all windows, in order; a block more than workers is held."""
        pool = ThreadPoolExecutor(self._workers, "voxport-block")
        try:
            yield from extractor(
                timed(windows, lambda: watch.stage("reading")), pool, self._workers
            )
        finally:
            # After an error, or if nobody wants more: no task begins any more.
            pool.shutdown(cancel_futures=True)

    def _result(
        self, local: Local, bounds: SpeakerBounds, mode: str, watch: Stopwatch
    ) -> DiarizationResult:
        with watch.stage("clustering"):
            clusters = self._clusters(local, bounds)
        with watch.stage("reconstruction"):
            counts = speaker_count(local.masks, local.starts, self.grid, bounds.most)
            full, alone = (
                discrete_diarization(
                    local.masks, clusters.assignments, each, local.starts, self.grid
                )
                for each in (counts, exclusive(counts))
            )
            names = speaker_names(full)
            pause_s = self.settings.min_duration_off_s
            duration_s = local.num_samples / self.sample_rate_hz
            turns, exclusive_turns = (
                Turns(rounded(within(to_turns(each, self.grid, pause_s, names), duration_s)))
                for each in (full, alone)
            )
        centroids = clusters.centroids.astype(np.float32)
        return DiarizationResult(
            turns=turns,
            exclusive_turns=exclusive_turns,
            embeddings={
                name: centroids[cluster]
                for cluster, name in names.items()
                # A nameless speaker who fills up a count has none, nor has one who says too little.
                if cluster < len(centroids) and np.isfinite(centroids[cluster]).all()
            },
            speaker_count=counts,
            hop_s=self.grid.hop_s,
            duration_s=duration_s,
            mode=mode,
            artifacts=(Used.of(self._segmentation), Used.of(self._embedding)),
            seconds={**watch.seconds, "total": watch.elapsed_s},
        )

    def _clusters(self, local: Local, bounds: SpeakerBounds) -> Clusters:
        settings, threshold = self.settings, self.settings.threshold
        if settings.plda is not None:
            vbx = VbxOptions() if threshold is None else VbxOptions(ahc_threshold=threshold)
            return vbx_clusters(local.embeddings, local.masks, settings.plda, vbx, bounds)
        if threshold is None:
            threshold = self._embedding.description.figure("clustering_threshold", float)
        options = AhcOptions(threshold, settings.min_cluster_size)
        return ahc_clusters(local.embeddings, local.masks, options, bounds)

    def _tell(
        self,
        progress: Hook | None,
        stage: str,
        done: int,
        total: int | None,
        watch: Stopwatch,
    ) -> None:
        if progress is not None:
            rate = self.sample_rate_hz
            total_s = None if total is None else total / rate
            progress(Progress(stage, done / rate, total_s, watch.elapsed_s))

    def optimize_for_gpu(self, batch_size: int | None = None) -> Self:
        """Warm up, so that no later call is a first one; on the CPU there is nothing to do.

        Args:
            batch_size: windows per call where a network takes them one by one, as in exact mode.
        """
        for session in (self._segmentation, self._embedding):
            if batch_size is not None and is_batched(session.description):
                session.use_batch_size(batch_size)
        if not self._embedding.on_cpu:
            num_samples = self._plan.span(self._plan.block_windows)
            speech = probe_inputs({"waveform": (num_samples,)})["waveform"]
            with self._segmentation.everywhere(), self._embedding.everywhere():
                self(speech, source_rate_hz=self.sample_rate_hz)
        return self

    def close(self) -> None:
        """Give back the networks' memory."""
        self._segmentation.close()
        self._embedding.close()


def _joined(parts: list[Local]) -> Local:
    return Local(
        np.concatenate([part.starts for part in parts]),
        np.concatenate([part.masks for part in parts]),
        np.concatenate([part.embeddings for part in parts]),
        parts[-1].num_samples,
    )
