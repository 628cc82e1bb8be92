"""sherpa-onnx with the same networks, in its own ONNX layout."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from peer_protocol import Diarize, Turn, read_wave, serve


def load(options: Mapping[str, Any], threads: int) -> Diarize:
    """Options: paths of ``segmentation`` and ``embedding``, and the ``threshold``."""
    import sherpa_onnx as sherpa  # noqa: PLC0415 -- pinned first

    config = sherpa.OfflineSpeakerDiarizationConfig(
        segmentation=sherpa.OfflineSpeakerSegmentationModelConfig(
            pyannote=sherpa.OfflineSpeakerSegmentationPyannoteModelConfig(
                model=options["segmentation"]
            ),
            num_threads=threads,
        ),
        embedding=sherpa.SpeakerEmbeddingExtractorConfig(
            model=options["embedding"], num_threads=threads
        ),
        clustering=sherpa.FastClusteringConfig(num_clusters=-1, threshold=options["threshold"]),
        # As in pyannote's recipe: no turn is dropped, no pause is filled.
        min_duration_on=0.0,
        min_duration_off=0.0,
    )
    if not config.validate():
        raise SystemExit("sherpa-onnx refuses the configuration; its reason is above")
    diarizer = sherpa.OfflineSpeakerDiarization(config)

    def diarize(path: str) -> list[Turn]:
        found = diarizer.process(read_wave(path)).sort_by_start_time()
        return [(each.start, each.end, f"SPEAKER_{each.speaker:02d}") for each in found]

    return diarize


if __name__ == "__main__":
    serve(load, ("sherpa-onnx",))
