"""What the benchmark of scale makes of times, and its stand-in on real processes."""

from __future__ import annotations

from pathlib import Path

import pytest
import signals
import soundfile
from bench_recordings import RATE_HZ, recording
from bench_scale import (
    PLAIN,
    Row,
    Timed,
    clips,
    engine,
    main,
    num_files,
    overhead_table,
    simulation_table,
)
from bench_standin import Rate, rate


def timed(title: str, workers: int, *runs: tuple[float, float, list[float]]) -> Timed:
    result = Timed(Row(title, workers))
    for run in runs:
        result.add(*run)
    return result


def test_seconds_per_file_are_without_the_start() -> None:
    one = timed("x", 1, (100.0, 112.0, [111.0, 103.0, 105.0]))
    assert (one.wall_s, one.start_s, one.per_file_s) == ([12.0], [3.0], [4.0])


def test_rows_are_compared_within_a_round() -> None:
    plain = timed(PLAIN, 1, (0, 5, [1, 3]), (0, 9, [1, 5]), (0, 5, [1, 3]))
    other = timed("other", 2, (0, 5, [2, 5]), (0, 18, [2, 4]), (0, 10, [2, 6]))
    table = overhead_table([plain, other], clip_s=10.0).splitlines()
    assert [cell.strip() for cell in table[2].split("|")[1:6]] == [
        *(PLAIN, "1", "2000 (2000-4000)", "1.000 (1.000-1.000)", "5.0")
    ]
    assert [cell.strip() for cell in table[3].split("|")[1:6]] == [
        *("`other`", "2", "3000 (2000-4000)", "1.500 (0.500-2.000)", "3.3")
    ]
    header, whole = table[0].split("|"), [line.split("|")[-2].strip() for line in table[2:]]
    assert header[-2].strip() == "whole run beside it"
    assert whole == ["1.000 (1.000-1.000)", "2.000 (1.000-2.000)"]


def test_one_file_has_no_time_per_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["bench_scale.py", "--files", "1"])
    with pytest.raises(SystemExit):
        main()
    assert "--files 1: a time per file takes 2 or more" in capsys.readouterr().err


def test_a_simulation_is_set_beside_its_ideal() -> None:
    table = simulation_table([(4, 0.1, Rate(30.0, 2.5, 7.0)), (4, 0.01, Rate(200.0, 2.0, 7.0))])
    first, second = table.splitlines()[2:]
    assert first == "| 10 ms | 4 | 400 | 200.0 | 50% | 2.00 | 7.0 |"
    assert second == "| 100 ms | 4 | 40 | 30.0 | 75% | 2.50 | 7.0 |"


@pytest.mark.parametrize(("workers", "cost_s", "expected"), [(4, 1.0, 20), (4, 10.0, 12)])
def test_every_worker_has_some_files(workers: int, cost_s: float, expected: int) -> None:
    assert num_files(workers, cost_s) == expected


@pytest.mark.parametrize("workers", [1, 3, 64])
def test_all_workers_of_ray_fit_on_this_machine(
    workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    made = engine("ray", workers)
    assert made.workers == workers
    assert 0 < made.cpus_per_worker * workers <= 2


def test_the_stand_in_on_two_processes(tmp_path: Path) -> None:
    found = rate(tmp_path, engine("local", 2), 2, cost_s=0.05, num_files=12)
    # Two at a time, so that the stage alone takes 0.3 s.
    assert 0 < found.files_per_s <= 12 / 0.3
    assert found.driver_ms > 0
    assert len(list((tmp_path / "out").glob("*.rttm"))) == 12


def test_clips_are_of_equal_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wav, rttm = tmp_path / "a.wav", tmp_path / "a.rttm"
    soundfile.write(wav, signals.speechlike(5 * RATE_HZ, 1), RATE_HZ)
    rttm.write_text("SPEAKER a 1 0.0 1.0 <NA> <NA> x <NA> <NA>\n")
    monkeypatch.setattr("bench_scale.recordings", lambda: [recording(wav, rttm)])
    clips(tmp_path / "clips", 3, 2.0)
    lengths = [soundfile.info(str(each)).frames for each in (tmp_path / "clips").iterdir()]
    assert lengths == [2 * RATE_HZ] * 3
    with pytest.raises(SystemExit, match="no recording is as long"):
        clips(tmp_path / "more", 3, 6.0)
