"""Which variants are compared, and what counts as moved."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import tiny_artifacts
from voxport.runtime.annotation.scoring import Score
from voxport.runtime.annotation.turns import Turns
from voxport.runtime.manifest import ArtifactRow, Manifest

pytest.importorskip("torch", reason="the evaluator needs torch: install voxport[export]")
from bench_precision import JOINED, Outcome, Variant, chosen, row_of, variants, verdict
from bench_recordings import Recording

FP16 = Variant("onnx", "fp16", "fast")
EXPECTED = {"one": 20.0, "two": 10.0, JOINED: 15.0}


def scored(confusion_s: dict[str, float]) -> dict[str, Score]:
    """100 s of speech in each recording."""
    return {name: Score(100.0, 100.0 - each, each) for name, each in confusion_s.items()}


def outcome(**confusion_s: float) -> Outcome:
    expected = {name: EXPECTED[name] for name in confusion_s}
    return Outcome(FP16, scored(confusion_s), scored(expected))


def artifact(name: str, precision: str, artifact_format: str) -> ArtifactRow:
    described, content = tiny_artifacts.linear(name, precision)
    return replace(tiny_artifacts.row(described, content), format=artifact_format)


def test_variants_need_both_networks_and_packages_take_windows_only() -> None:
    rows = [
        *(artifact("segmentation_masks", each, "onnx") for each in ("fp16", "fp32", "int8")),
        *(artifact("embedding_campplus", each, "onnx") for each in ("fp16", "fp32")),
        artifact("segmentation_masks", "w8", "coreml"),
        artifact("embedding_campplus", "w8", "coreml"),
        artifact("cosine_distance", "int8", "onnx"),
    ]
    assert [each.title for each in variants(Manifest(tuple(rows)))] == [
        "ONNX fp32, fast",
        "ONNX fp32, exact",
        "ONNX fp16, fast",
        "ONNX fp16, exact",
        "Core ML w8, exact",
    ]


def test_either_segmentation_will_do() -> None:
    rows = (
        artifact("segmentation_windows", "fp32", "onnx"),
        artifact("embedding_campplus", "fp32", "onnx"),
    )
    assert len(variants(Manifest(rows))) == 2
    assert variants(Manifest(rows[1:])) == []


def test_clips_move_together_and_the_joined_file_by_itself() -> None:
    found = outcome(one=21.0, two=8.0, joined=15.5)
    assert found.moved_points == {
        "clips": pytest.approx(-0.5),
        JOINED: pytest.approx(0.5),
    }
    assert found.most_moved == ("two", pytest.approx(-2.0))
    assert row_of(found) == (
        "ONNX fp16, fast",
        "2",
        "14.5 (0.0 / 0.0 / 14.5)",
        "-0.50",
        "-2.00 (two)",
        "15.5 (0.0 / 0.0 / 15.5)",
        "+0.50",
    )


def test_without_a_joined_file_there_is_a_dash() -> None:
    assert row_of(outcome(one=20.0, two=10.0))[4:] == ("none", "-", "-")


def test_what_moves_by_more_than_the_limit_is_named() -> None:
    still = outcome(one=20.25, two=10.25, joined=15.0)
    clips = outcome(one=21.0, two=10.0, joined=15.0)
    longer = outcome(one=20.0, two=10.0, joined=14.5)
    assert verdict([still]).endswith("points: none.")
    assert verdict([still, clips, longer]).endswith(
        "points: ONNX fp16, fast (+0.50 on clips); ONNX fp16, fast (-0.50 on joined)."
    )


def test_clips_for_the_evaluator_are_chosen_by_name() -> None:
    clips = [Recording(each, Path(each), 1.0, Turns()) for each in ("sample", "x", "dev00")]
    assert [each.name for each in chosen(None, clips)] == ["sample", "dev00"]
    assert [each.name for each in chosen(["x"], clips)] == ["x"]
    assert chosen([], clips) == []
    with pytest.raises(SystemExit, match="no such clips: y, z"):
        chosen(["z", "y"], clips)
