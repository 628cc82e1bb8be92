"""What a precision or format costs in diarization error, clip by clip, against ONNX FP32.

ONNX artifacts run through ``Diarizer`` on the CPU. Core ML packages run there too, executed as
they are stored by voxport's evaluator, which is slow: on a few clips, and in exact mode, since a
package takes windows only. Nothing here is timed.

Usage: python benchmarks/bench_precision.py [--models FOLDER] [--coreml-clips NAME ...]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from bench_evaluated import evaluated_packages
from bench_machine import machine
from bench_recordings import Recording, joined, recordings
from bench_tables import errors, markdown
from voxport.runtime.annotation.scoring import Score, score, total
from voxport.runtime.diarization import Diarizer, Settings
from voxport.runtime.locate import find_models
from voxport.runtime.manifest import MANIFEST_NAME, Manifest

FOLDER = Path(__file__).resolve().parent
RESULTS = FOLDER / "results" / "precision.md"
LIMIT_POINTS = 0.3
_EMBEDDING, _SEGMENTATION = "embedding_campplus", "segmentation"
# What a diarizer takes for its segmentation.
_SEGMENTATIONS = dict.fromkeys(("segmentation_masks", "segmentation_windows"), _SEGMENTATION)
_MODES = ("fast", "exact")
JOINED = "joined"
_HALF = (
    "FP16 has no CPU kernels: ONNX Runtime computes in FP32 between casts, so that what is seen of "
    "it here is the rounding of weights and of what goes from node to node."
)
# As many as the evaluator does in minutes.
_COREML_CLIPS = ("sample", "dev00", "dev01", "trn04", "trn06")


@dataclass(frozen=True)
class Variant:
    """A format, a precision and a mode."""

    artifact_format: str
    precision: str
    mode: str

    @property
    def title(self) -> str:
        shown = {"onnx": "ONNX", "coreml": "Core ML"}[self.artifact_format]
        return f"{shown} {self.precision}, {self.mode}"


@dataclass(frozen=True)
class Outcome:
    """The scores of a variant by recording, and those of the reference on the same ones.

    The file that is joined of the clips is the last of them, under the name ``joined``, or absent.
    """

    variant: Variant
    scores: dict[str, Score]
    reference: dict[str, Score]

    @property
    def clips(self) -> dict[str, Score]:
        """The scores of the clips by themselves."""
        return {name: each for name, each in self.scores.items() if name != JOINED}

    @property
    def moved_points(self) -> dict[str, float]:
        """By how many points the DER moves: of all clips together, and of the joined file."""
        expected = total(self.reference[name] for name in self.clips)
        moved = {"clips": 100 * (total(self.clips.values()).der - expected.der)}
        if JOINED in self.scores:
            moved[JOINED] = 100 * (self.scores[JOINED].der - self.reference[JOINED].der)
        return moved

    @property
    def most_moved(self) -> tuple[str, float]:
        """The clip whose own DER moves most, and by how many points."""
        moved = {
            name: 100 * (each.der - self.reference[name].der) for name, each in self.clips.items()
        }
        name = max(moved, key=lambda each: abs(moved[each]))
        return name, moved[name]


def variants(manifest: Manifest) -> list[Variant]:
    """Those of which there is a segmentation and the embedding; ONNX FP32 comes first."""
    held: dict[str, set[tuple[str, str]]] = {}
    for row in manifest.artifacts:
        name = _EMBEDDING if row.name == _EMBEDDING else _SEGMENTATIONS.get(row.name, "")
        held.setdefault(name, set()).add((row.format, row.precision))
    whole = sorted(
        held.get(_EMBEDDING, set()) & held.get(_SEGMENTATION, set()),
        key=lambda key: (key[0] != "onnx", key[1] != "fp32", key[1]),
    )
    return [
        Variant(artifact_format, precision, mode)
        for artifact_format, precision in whole
        for mode in (_MODES if artifact_format == "onnx" else ("exact",))
    ]


def opened(variant: Variant, models: Path) -> Diarizer:
    """A diarizer on the artifacts of a variant."""
    is_onnx = variant.artifact_format == "onnx"
    with nullcontext() if is_onnx else evaluated_packages():
        return Diarizer(
            models=models,
            device="cpu" if is_onnx else "coreml",
            precision=variant.precision,
            embedding=_EMBEDDING,
            settings=Settings(mode="fast" if variant.mode == "fast" else "exact"),
        )


def scores_of(variant: Variant, models: Path, clips: Sequence[Recording]) -> dict[str, Score]:
    """The score of each clip: collar 0, overlap scored."""
    scores = {}
    with opened(variant, models) as diarizer:
        for clip in clips:
            scores[clip.name] = score(clip.reference, diarizer(clip.path).turns)
            sys.stderr.write(f"{variant.title}: {clip.name} {scores[clip.name].der:.4f}\n")
    return scores


def outcomes(
    models: Path, clips: Sequence[Recording], coreml_clips: Sequence[Recording]
) -> Iterator[Outcome]:
    """Every variant against ONNX FP32 in the same mode, on the same clips."""
    expected: dict[str, dict[str, Score]] = {}
    for variant in variants(Manifest.read(models / MANIFEST_NAME)):
        is_onnx = variant.artifact_format == "onnx"
        taken = clips if is_onnx else coreml_clips
        if not taken:
            continue
        scores = scores_of(variant, models, taken)
        if is_onnx and variant.precision == "fp32":
            expected[variant.mode] = scores
        reference = expected[variant.mode]
        yield Outcome(variant, scores, {name: reference[name] for name in scores})


def row_of(outcome: Outcome) -> tuple[str, ...]:
    """A line of the table."""
    (clip, points), moved = outcome.most_moved, outcome.moved_points
    return (
        outcome.variant.title,
        str(len(outcome.clips)),
        errors(total(outcome.clips.values())),
        f"{moved['clips']:+.2f}",
        f"{points:+.2f} ({clip})" if points else "none",
        errors(outcome.scores.get(JOINED)),
        f"{moved[JOINED]:+.2f}" if JOINED in moved else "-",
    )


def verdict(found: Sequence[Outcome]) -> str:
    """Which variants move by more than the limit: by name, or that none does."""
    moved = [
        f"{each.variant.title} ({points:+.2f} on {where})"
        for each in found
        for where, points in each.moved_points.items()
        if abs(points) > LIMIT_POINTS
    ]
    return f"Moves by more than {LIMIT_POINTS} points: {'; '.join(moved) or 'none'}."


def report(found: Sequence[Outcome], notes: Sequence[str]) -> str:
    """The results as Markdown."""
    header = (
        "artifacts",
        "clips",
        "DER % (miss / false alarm / confusion)",
        "moved, points",
        "most moved clip, points",
        "DER %, joined",
        "moved, points",
    )
    return "\n\n".join(
        (
            "# What a precision costs in diarization error",
            *notes,
            markdown(header, [row_of(outcome) for outcome in found]),
            f"**{verdict(found)}**",
        )
    )


def notes_on(clips: Sequence[Recording], coreml_clips: Sequence[Recording]) -> list[str]:
    """What was measured, and how."""
    alone = [clip for clip in clips if clip.name != JOINED]
    speech_s = sum(clip.duration_s for clip in alone)
    few = ", ".join(clip.name for clip in coreml_clips) or "none"
    first = (
        f"`make bench-precision`. {machine()}. Segmentation and CAM++, both in the precision "
        "named; collar 0, overlap scored."
    )
    second = (
        f"*Clips* ({speech_s / 60:.1f} min, labelled by people): "
        f"{', '.join(clip.name for clip in alone)}. *Joined*: one file of all of them, over and "
        "over. *Moved*: against ONNX fp32 in the same mode on the same clips, all together; of "
        "a clip of 30 s a single turn is worth points."
    )
    third = (
        "Core ML packages were executed as stored by voxport's evaluator, not by Apple's "
        f"runtime, on: {few}."
    )
    return [first, second, _HALF, third]


def chosen(names: Sequence[str] | None, clips: Sequence[Recording]) -> list[Recording]:
    """The clips of these names, or by default those of a short list that are there.

    Raises SystemExit for a name that is no clip's.
    """
    unknown = set(names or ()) - {clip.name for clip in clips}
    if unknown:
        raise SystemExit(f"no such clips: {', '.join(sorted(unknown))}")
    wanted = _COREML_CLIPS if names is None else names
    return [clip for clip in clips if clip.name in wanted]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", type=Path, help="folder with the artifacts")
    parser.add_argument("--output", type=Path, default=RESULTS, metavar="FILE")
    parser.add_argument(
        "--minutes", type=float, default=10.0, help="of a file joined of the clips; 0: without"
    )
    parser.add_argument("--coreml-clips", nargs="*", metavar="NAME", help="none: no Core ML")
    options = parser.parse_args()
    models = find_models(options.models)
    clips = [clip for clip in recordings() if clip.is_human]
    coreml_clips = chosen(options.coreml_clips, clips)
    if options.minutes:
        path = FOLDER.parent / "build" / "bench" / "audio" / f"{JOINED}.wav"
        clips.append(joined(clips, options.minutes, path))
    found = list(outcomes(models, clips, coreml_clips))
    text = report(found, notes_on(clips, coreml_clips))
    options.output.write_text(f"{text}\n", "utf-8")
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    main()
