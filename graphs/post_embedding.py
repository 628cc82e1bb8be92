"""What a speaker database needs after embeddings: distances, activity and filtered segments."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional

from .cosine import CosineDistance


def drop_short_runs(activity: Tensor, min_frames: int) -> Tensor:
    """(1, F, S) -> (1, F, S): runs of active frames shorter than ``min_frames`` become 0.

    A morphological opening: erosion keeps the starts of long enough runs, dilation restores
    their full length. Beyond the window counts as silence.
    """
    tracks = activity.transpose(1, 2)
    ahead = functional.pad(tracks, (0, min_frames - 1))
    eroded = -functional.max_pool1d(-ahead, min_frames, stride=1)
    behind = functional.pad(eroded, (min_frames - 1, 0))
    return functional.max_pool1d(behind, min_frames, stride=1).transpose(1, 2)


class PostEmbedding(nn.Module):
    """Match the speakers of a window against a database and drop what is too short to trust.

    Args:
        step_s: duration of one segmentation frame.
        activity_threshold_frames: a speaker is valid if active in strictly more frames.
        min_duration_s: segments (runs of active frames) shorter than this are removed.
    """

    def __init__(
        self,
        step_s: float,
        activity_threshold_frames: float = 10.0,
        min_duration_s: float = 1.0,
    ) -> None:
        super().__init__()
        for value in (step_s, activity_threshold_frames, min_duration_s):
            if not 0 <= value < math.inf:
                raise ValueError(f"durations and thresholds must be finite and >= 0, got {value}")
        self.distance = CosineDistance()
        self.activity_threshold_frames = activity_threshold_frames
        self.min_duration_s = min_duration_s
        # 1e-9: a duration of a whole number of frames must not round up to one more.
        self.min_frames = max(1, math.ceil(min_duration_s / step_s - 1e-9))

    def forward(
        self, embeddings: Tensor, database: Tensor, segments: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """embeddings (S, D), database (M, D), segments (1, F, S) of 0 and 1, all float32.

        Returns distances (S, M), activity (S) in frames, valid (S) of 0 and 1, and filtered
        segments (1, F, S): the long enough segments of the valid speakers. An empty database
        (M = 0) gives distances of shape (S, 0).
        """
        activity = segments.sum(dim=1).squeeze(0)
        valid = (activity > self.activity_threshold_frames).to(segments.dtype)
        filtered = drop_short_runs(segments, self.min_frames) * valid
        return self.distance(embeddings, database), activity, valid, filtered
