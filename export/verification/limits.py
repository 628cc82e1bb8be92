"""What a comparison may cost, per kind of output and precision. One table, with its reasons."""

from __future__ import annotations

from collections.abc import Mapping

Limits = Mapping[str, float]

# Stage one: the re-authored module (float32) against the original in float64.
REAUTHORED: Mapping[str, Limits] = {
    # The original itself, in float32, is within 2.3e-3 of its float64 self.
    "log_probs": {"max_abs": 5e-3, "flipped_share": 0.0},
    "masks": {"changed_share": 0.0},
    "embeddings": {"relative_max_abs": 1e-4, "changed_pairs": 0, "changed_partition": 0},
    "features": {"max_abs": 2e-3, "mean_abs": 1e-5},
    "power": {"relative_max_abs": 1e-5},
    "decibels": {"max_abs": 1e-3, "quiet_max_abs": 0.02},
    # Root mean squares of full scale 1; and z-scores over a stream, three hours long as well.
    "levels": {"max_abs": 1e-6},
    "scores": {"max_abs": 1e-5},
    "distances": {"max_abs": 1e-6},
    # VGGish: 1e-5 is measured for tones of full scale, which leave most bands to rounding.
    "log_mel": {"max_abs": 1e-4},
    "vectors": {"relative_max_abs": 1e-4},
    # Rounded down: what lies at a step may fall to either side of it.
    "quantised": {"max_abs": 1.0, "changed_share": 1e-2},
    "exact": {"max_abs": 0.0},
}

# How close to the threshold a pair of embeddings counts as undecided. Distances move by up to
# 8e-4 in FP16 and 9.5e-3 in INT8 (210 pairs of real speech), while the threshold could as well
# be anywhere in 0.40-0.45 (misses and false alarms within 8 points of one another): without a
# margin the gate would be a lottery on pairs that happen to lie at the threshold.
PAIR_MARGIN: Mapping[str, float] = {"fp32": 1e-4, "fp16": 1e-3, "int8": 1e-2, "w8": 1e-2}

_EXACT: Limits = {"max_abs": 0.0}
_SAME_DECISIONS: Limits = {"changed_pairs": 0, "changed_partition": 0}

# A stored program, run without any rounding, against the module in float64.
EXACT: Mapping[str, Limits] = {
    "log_probs": {"max_abs": 1e-4, "flipped_share": 0.0},
    "masks": {"changed_share": 0.0},
    "embeddings": {"relative_max_abs": 1e-4, "changed_pairs": 0, "changed_partition": 0},
    "features": {"max_abs": 1e-4},
    "distances": {"max_abs": 1e-6},
    "levels": {"max_abs": 1e-6},
    "scores": {"max_abs": 1e-5},
    "power": {"relative_max_abs": 1e-6},
    "decibels": {"max_abs": 1e-4, "quiet_max_abs": 1e-4},
    "log_mel": {"max_abs": 1e-4},
    "vectors": {"relative_max_abs": 1e-4},
    "quantised": {"max_abs": 1.0, "changed_share": 1e-2},
    "exact": {"max_abs": 0.0},
}

# Stage two: the artifact against the re-authored module, on every case. Decisions are those on
# real speech and silence; the other limits hold for noise, ragged lengths and hard masks too.
ARTIFACT: Mapping[str, Mapping[str, Limits]] = {
    # 8e-6 is measured on speech, 4.7e-5 for masks of two neighbouring frames in 0.4 s of audio,
    # where the pooling's sums of squares cancel; within 1e-4 in absolute terms.
    "fp32": REAUTHORED,
    "fp16": {
        # 0.06 at most measured on 43,586 frames of speech: room for other checkpoints.
        "log_probs": {"max_abs": 0.25, "flipped_share": 1e-3},
        "masks": {"changed_share": 1e-3},
        # Off speech, 1.1e-4 is measured for a silent window.
        "embeddings": {**_SAME_DECISIONS, "cosine_distance": 1e-4, "any_cosine_distance": 1e-3},
        # VGGish with seeded weights, the only ones there are here: 4e-7, whitened 1.4e-6.
        "vectors": {"cosine_distance": 1e-4},
        "quantised": REAUTHORED["quantised"],
        "exact": _EXACT,
    },
    "int8": {
        # Dynamic INT8 LSTMs flip 0.2 % of frames and move log-probabilities by up to 1.6 (43,586
        # frames); quantising every operator flips 20 %.
        "log_probs": {"max_abs": 2.5, "flipped_share": 5e-3},
        "masks": {"changed_share": 5e-3},
        # Off speech, 0.024 is measured for a silent window.
        "embeddings": {**_SAME_DECISIONS, "cosine_distance": 1e-2, "any_cosine_distance": 5e-2},
        # VGGish with seeded weights: 3.1e-4, whitened 1.1e-3.
        "vectors": {"cosine_distance": 1e-2},
        "quantised": REAUTHORED["quantised"],
        "exact": _EXACT,
    },
    "w8": {
        # 8-bit weights of the LSTM alone.
        "log_probs": {"max_abs": 2.5, "flipped_share": 5e-3},
        "masks": {"changed_share": 5e-3},
        "embeddings": {**_SAME_DECISIONS, "cosine_distance": 1e-2, "any_cosine_distance": 5e-2},
        "vectors": {"cosine_distance": 1e-2},
        "quantised": REAUTHORED["quantised"],
        "exact": _EXACT,
    },
}
