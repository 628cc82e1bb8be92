"""SpeakerEmbedder on a tiny exact network: voices are rows of a Hadamard matrix."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from tiny_artifacts import HOP, RATE_HZ
from tiny_diarization import INVERTED, TOGETHER, Samples, segmentation, silence, speech
from tiny_diarization import publish as publish_only
from tiny_speakers import embedder, embedding, publish, voice_print
from voxport.runtime import (
    AudioError,
    Embeddings,
    OptionsError,
    SessionClosedError,
    Turns,
)
from voxport.runtime.annotation.turns import Turn
from voxport.runtime.diarization import Progress
from voxport.runtime.errors import AnnotationError


def embedded(models: Path, samples: Samples, *known: Any, **options: Any) -> Embeddings:
    per = options.pop("per", "speaker")
    with embedder(models, **options) as loaded:
        return loaded.embed(samples, *known, per=per, source_rate_hz=RATE_HZ)


def turns(*rows: tuple[float, float, str]) -> Turns:
    return Turns(Turn(*row) for row in rows)


# A recording of one person


def test_silence_does_not_enter_a_voice_print(models: Path) -> None:
    samples = np.concatenate([silence(2), speech(3, 4), silence(7), speech(1, 4), silence(1)])
    found = embedded(models, samples)
    assert found.vectors.dtype == np.float32
    np.testing.assert_allclose(found.vectors, [voice_print(4)], atol=1e-5)
    assert found.labels == ("SPEAKER_00",)
    assert (found.starts_s[0], found.ends_s[0], found.duration_s) == (0, 14, 14)
    assert found.speech_s[0] == pytest.approx(4, abs=0.05)
    assert (found.artifact.name, found.remarks) == ("embedding_tiny", ())
    assert {"detection", "reading", "embedding", "total"} <= set(found.seconds)


def test_what_two_say_at_once_does_not_enter_either(models: Path) -> None:
    # TOGETHER, somebody of another voice speaks too.
    samples = np.concatenate([speech(2, 4), speech(2, 9, TOGETHER), speech(2, 4)])
    found = embedded(models, samples)
    # A frame on the border may be of the other voice.
    assert float(found.vectors[0] @ voice_print(4)) > 0.99
    assert found.speech_s[0] == pytest.approx(4, abs=0.3)


def test_all_speech_is_taken_where_nobody_is_alone(models: Path) -> None:
    found = embedded(models, np.concatenate([silence(1), speech(3, 9, TOGETHER), silence(1)]))
    np.testing.assert_allclose(found.vectors, [voice_print(9)], atol=1e-5)
    (remark,) = found.remarks
    assert "all speech was taken" in remark


def test_windows_count_by_their_speech(models: Path) -> None:
    # 10 s of one window with 6 s of voice 0, then one with 2 s of voice 2: 3 to 1.
    samples = np.concatenate(
        [speech(6, 0), silence(4), silence(4), speech(2, 2, INVERTED), silence(4)]
    )
    expected = 3 * voice_print(0) + voice_print(2)
    found = embedded(models, samples)
    np.testing.assert_allclose(found.vectors[0], expected / np.linalg.norm(expected), atol=0.01)


@pytest.mark.parametrize("samples", [0, 1, 480, 3 * RATE_HZ])
def test_too_little_speech_is_an_error(models: Path, samples: int, tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"array: (holds|no samples|.*no samples)"):
        embedded(models, np.zeros(samples, np.float32))
    path = tmp_path / "a.wav"
    soundfile.write(path, np.concatenate([speech(0.4, 0), silence(1)]), RATE_HZ)
    with (
        embedder(models) as loaded,
        pytest.raises(AudioError, match=r"a\.wav: holds 0\.4\d s of speech, but .* needs 0\.5 s"),
    ):
        loaded.embed(path)


def test_a_lower_limit_takes_less(models: Path) -> None:
    samples = np.concatenate([speech(0.1, 0), silence(1.9)])
    found = embedded(models, samples, min_speech_s=0.05)
    np.testing.assert_allclose(found.vectors, [voice_print(0)], atol=1e-5)


# Speakers and segments


def test_an_embedding_per_speaker(models: Path) -> None:
    samples = np.concatenate([speech(4, 0), speech(12, 7), speech(4, 0)])
    known = turns((0, 4, "b"), (4, 16, "a"), (16, 20, "b"))
    found = embedded(models, samples, known)
    assert found.labels == ("a", "b")
    np.testing.assert_allclose(found.vectors, [voice_print(7), voice_print(0)], atol=1e-5)
    assert found.starts_s.tolist() == [4, 0]
    assert found.ends_s.tolist() == [16, 20]
    np.testing.assert_allclose(found.speech_s, [12, 8], atol=0.021)


def test_an_embedding_per_segment(models: Path) -> None:
    samples = np.concatenate([speech(1, 0), speech(1, 7), speech(0.2, 5), silence(0.8)])
    known = turns((0, 1, "a"), (1, 2, "b"), (2, 2.2, "a"))
    found = embedded(models, samples, known, per="segment")
    assert found.labels == ("a", "b", "a")
    np.testing.assert_allclose(found.vectors[:2], [voice_print(0), voice_print(7)], atol=1e-5)
    # Less than half a second.
    assert np.isnan(found.vectors[2]).all()
    assert found.speech_s[2] == pytest.approx(0.2, abs=0.011)


def test_where_others_speak_is_left_out_unless_nothing_remains(models: Path) -> None:
    samples = np.concatenate([speech(3, 0), speech(3, 7)])
    partly = embedded(models, samples, turns((0, 6, "a"), (3, 6, "b")))
    np.testing.assert_allclose(partly.vectors[0], voice_print(0), atol=1e-5)
    # b speaks while a does only: all that it says is taken.
    np.testing.assert_allclose(partly.vectors[1], voice_print(7), atol=1e-5)


def test_a_recording_shorter_than_a_window_is_not_padded(models: Path) -> None:
    found = embedded(models, speech(2, 6), turns((0, 9, "a")))
    np.testing.assert_allclose(found.vectors, [voice_print(6)], atol=1e-5)
    assert (found.duration_s, found.speech_s[0]) == (2, 2)


@pytest.mark.parametrize("seconds", [10, 10.01, 19.99, 20, 33.3])
def test_every_second_counts_once(models: Path, seconds: float) -> None:
    samples = speech(seconds, 6)
    found = embedded(models, samples, turns((0, seconds, "a")))
    assert found.speech_s[0] == pytest.approx(seconds, abs=0.0101)
    assert found.duration_s == len(samples) / RATE_HZ


def test_turns_of_another_recording(models: Path) -> None:
    with pytest.raises(AnnotationError, match=r"array: b speaks from 2\.000 s on, but the audio"):
        embedded(models, speech(2, 0), turns((0, 1, "a"), (2, 3, "b")))


def test_no_turns_no_embeddings(models: Path) -> None:
    found = embedded(models, speech(2, 0), Turns())
    assert found.vectors.shape == (0, HOP)
    assert (found.labels, found.duration_s) == ((), 2)


# Networks


def fixed(**sizes: tuple[int, ...]) -> Any:
    described, _ = embedding()
    return replace(described, sizes=sizes)


def test_a_format_that_fixes_the_sizes(models: Path, tmp_path: Path) -> None:
    described = fixed(batch=(1,), samples=(RATE_HZ * 4,), speakers=(3,), frames=(400,))
    _, graph = embedding()
    folder = publish_only(tmp_path, (described, _described(graph, described)))
    samples = np.concatenate([speech(2, voice) for voice in (0, 3, 5, 6, 9)])[: 9 * RATE_HZ]
    known = turns(*((2 * n, 2 * n + 2, str(n)) for n in range(5)))
    found = embedded(folder, samples, known)
    np.testing.assert_allclose(found.vectors, embedded(models, samples, known).vectors, atol=1e-5)
    short = embedded(folder, speech(1, 3), turns((0, 1, "a")))
    np.testing.assert_allclose(short.vectors, [voice_print(3)], atol=1e-5)


def _described(content: bytes, described: Any) -> bytes:
    """The same graph with another description in its metadata."""
    import onnx  # noqa: PLC0415

    model = onnx.load_from_string(content)
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {"voxport": described.to_json()})
    return bytes(model.SerializeToString())


def test_what_the_network_cannot_hear_is_left_out(tmp_path: Path) -> None:
    # Masks must have more frames than the shortest input covers: 480 samples are 30 frames.
    networks = (segmentation(), embedding(min_samples=480))
    folder = publish_only(tmp_path, *networks)
    samples = np.concatenate([speech(0.3, 0), speech(0.31, 7), silence(1.39)])
    known = turns((0, 0.3, "a"), (0.3, 0.61, "b"))
    found = embedded(folder, samples, known, min_speech_s=0.1)
    assert np.isnan(found.vectors[0]).all()
    np.testing.assert_allclose(found.vectors[1], voice_print(7), atol=1e-5)
    assert found.speech_s.tolist() == [0, pytest.approx(0.31)]


def test_turns_need_no_segmentation(tmp_path: Path) -> None:
    folder = publish_only(tmp_path, embedding())
    assert embedded(folder, speech(2, 0), turns((0, 2, "a"))).speech_s[0] == 2


def test_threads_do_not_change_the_answer(models: Path) -> None:
    samples = np.concatenate([speech(25, 0), speech(31, 7), speech(17, 2)])
    known = turns((0, 25, "a"), (20, 56, "b"), (56, 73, "a"))
    one, four = (embedded(models, samples, known, threads=number) for number in (1, 4))
    assert np.array_equal(one.vectors, four.vectors)


def test_memory_does_not_grow_with_the_audio(models: Path, tmp_path: Path) -> None:
    path, seconds = tmp_path / "long.wav", 1200
    with soundfile.SoundFile(path, "w", RATE_HZ, 1, subtype="PCM_16") as file:
        for _ in range(seconds // 10):
            file.write(speech(10, 4))
    with embedder(models, threads=1) as loaded:
        loaded.embed(speech(20, 4), turns((0, 20, "a")), source_rate_hz=RATE_HZ)
        tracemalloc.start()
        loaded.embed(path, turns((0, seconds, "a")))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 4 * RATE_HZ * seconds / 4  # a quarter of the samples


def test_progress_tells_both_stages(models: Path) -> None:
    told: list[Progress] = []
    with embedder(models) as loaded:
        loaded.embed(speech(25, 0), source_rate_hz=RATE_HZ, progress=told.append)
    assert list(dict.fromkeys(each.stage for each in told)) == [
        "windows",
        "embedding",
    ]
    assert told[-1].done_s == told[-1].total_s == 25


@pytest.mark.parametrize("options", [{"threads": 0}, {"min_speech_s": -1.0}])
def test_options_out_of_range(models: Path, options: dict[str, Any]) -> None:
    with pytest.raises(OptionsError, match=next(iter(options))):
        embedder(models, **options)


def test_a_closed_embedder(models: Path, tmp_path: Path) -> None:
    with embedder(publish(tmp_path)) as loaded:
        with pytest.raises(OptionsError, match="per must be"):
            loaded.embed(speech(1, 0), per="word", source_rate_hz=RATE_HZ)  # type: ignore[arg-type]
        assert loaded.same_speaker_distance == 0.5
    with pytest.raises(SessionClosedError):
        loaded.embed(speech(2, 0), turns((0, 1, "a")), source_rate_hz=RATE_HZ)
