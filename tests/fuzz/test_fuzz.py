"""No input from outside crashes, hangs, exhausts memory or raises anything but VoxportError.

``VOXPORT_FUZZ_INPUTS`` says how many mutated inputs are tried (``make fuzz``: 10,000).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from fuzz_inputs import KINDS, input_of, kind_of
from hypothesis import given, settings
from hypothesis import strategies as st
from voxport.runtime import ArtifactError, Description, VoxportError

_INPUTS = int(os.environ.get("VOXPORT_FUZZ_INPUTS", "400"))
_HERE = Path(__file__).resolve().parent
_MAX_SECONDS = 5.0
# Per input; the seeds hold half a second of audio.
_MAX_GROWTH_BYTES = 256 * 2**20
_MAX_DEATHS = 20


@dataclass
class Outcome:
    """What came of a run."""

    verdicts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    grown_bytes: int = 0


def run_worker(numbers: range, errors: Path, outcome: Outcome, script: Path) -> int:
    """Try inputs until the end or until the process dies; the number of the next input."""
    bounds = [str(numbers.start), str(numbers.stop)]
    command = [sys.executable, "-W", "error", str(script), *bounds]
    folders = os.pathsep.join([str(_HERE), str(_HERE.parent)])
    # glibc would reserve up to 128 MiB for each thread that comes and goes.
    environment = {**os.environ, "PYTHONPATH": folders, "MALLOC_ARENA_MAX": "1"}
    current, peak = numbers.start, None
    with (
        errors.open("ab") as log,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment
        ) as worker,
    ):
        for line in worker.stdout or ():
            match line.split():
                case ["begin", number]:
                    current = int(number)
                case ["end", number, seconds, peak_bytes, verdict]:
                    # The first input brings the libraries in.
                    grown = 0 if peak is None else int(peak_bytes) - peak
                    peak = int(peak_bytes)
                    note(outcome, int(number), float(seconds), grown, verdict)
                    current = int(number) + 1
    if worker.returncode:
        outcome.problems.append(f"input {current} ended the process with {worker.returncode}")
        return current + 1
    return numbers.stop


def note(outcome: Outcome, number: int, seconds: float, grown: int, verdict: str) -> None:
    outcome.verdicts[f"{kind_of(number).name}: {verdict}"] += 1
    outcome.slowest_s = max(outcome.slowest_s, seconds)
    outcome.grown_bytes = max(outcome.grown_bytes, grown)
    if verdict not in ("read", "refused"):
        outcome.problems.append(f"input {number} {verdict}")
    if seconds > _MAX_SECONDS:
        outcome.problems.append(f"input {number} took {seconds:.1f} s")
    if grown > _MAX_GROWTH_BYTES:
        outcome.problems.append(f"input {number} took {grown / 2**20:.0f} MiB")


def try_inputs(end: int, errors: Path, script: Path = _HERE / "fuzz_worker.py") -> Outcome:
    outcome, number, deaths = Outcome(), 0, 0
    while number < end and deaths < _MAX_DEATHS:
        number = run_worker(range(number, end), errors, outcome, script)
        deaths += 1
    return outcome


def test_mutated_inputs(tmp_path: Path) -> None:
    errors = tmp_path / "stderr"
    outcome = try_inputs(_INPUTS, errors)
    print(*(f"{count:6} {what}" for what, count in sorted(outcome.verdicts.items())), sep="\n")
    print(f"slowest {outcome.slowest_s:.2f} s, most memory {outcome.grown_bytes / 2**20:.0f} MiB")
    log = errors.read_text(encoding="utf-8", errors="replace")[-10000:]
    repeat = "repeat: PYTHONPATH=tests python tests/fuzz/fuzz_worker.py N N+1"
    assert not outcome.problems, f"{outcome.problems}\n{repeat}\n{log}"
    assert sum(outcome.verdicts.values()) == _INPUTS
    # Inputs of each kind are read and refused: what is always refused early proves little.
    assert len(outcome.verdicts) == 2 * len(KINDS)


def test_inputs_are_the_same_every_time() -> None:
    numbers = range(len(KINDS) * 20)
    contents = [input_of(number) for number in numbers]
    assert contents == [input_of(number) for number in numbers]
    assert len(set(contents)) > 0.9 * len(contents)


# What a worker does about each input, and what must be said of it.
_MISBEHAVIOUR = [
    ("raise KeyError(1)", "input 3 failed"),
    ("import os; os.abort()", "input 3 ended the process"),
]


@pytest.mark.parametrize(("code", "problem"), _MISBEHAVIOUR)
def test_misbehaviour_is_found(tmp_path: Path, code: str, problem: str) -> None:
    source = (_HERE / "fuzz_worker.py").read_text(encoding="utf-8")
    call = "        kind_of(number).read(content, folder)\n"
    broken = source.replace(call, f"        if number == 3:\n            {code}\n")
    assert broken != source
    worker = tmp_path / "worker.py"
    worker.write_text(broken, encoding="utf-8")
    outcome = try_inputs(6, tmp_path / "stderr", worker)
    assert [found[: len(problem)] for found in outcome.problems] == [problem]
    assert sum(outcome.verdicts.values()) >= 5


def test_what_takes_too_long_or_too_much_is_found() -> None:
    outcome = Outcome()
    for seconds, grown in ((4.9, 2**28), (5.1, 0), (0.1, 2**29)):
        note(outcome, 7, seconds, grown, "read")
    assert outcome.problems == ["input 7 took 5.1 s", "input 7 took 512 MiB"]


# What no mutation of a sound document leads to

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
_FIELDS = [*Description.__dataclass_fields__, "schema_version"]


@settings(max_examples=max(50, _INPUTS // 20))
@given(st.dictionaries(st.sampled_from(_FIELDS), _JSON) | _JSON)
def test_any_json_is_a_description_or_an_artifact_error(document: object) -> None:
    try:
        described = Description.from_json(json.dumps(document), "input")
    except ArtifactError as error:
        assert str(error).startswith("input")  # noqa: PT017 -- either outcome is right
    else:
        assert isinstance(described, Description)


@settings(max_examples=max(50, _INPUTS // 20))
@given(content=st.binary(max_size=2000), number=st.integers(0, len(KINDS) - 1))
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, content: bytes, number: int) -> None:
    try:
        KINDS[number].read(content, tmp_path_factory.getbasetemp())
    except VoxportError as error:
        assert str(error)  # noqa: PT017 -- either outcome is right
