"""Whose an error is: the recording's, or that of the process which worked on it."""

from __future__ import annotations

import errno
import pickle
from pathlib import Path

import pytest
from voxport.runtime import errors
from voxport.runtime.recordings.files import Recording
from voxport.runtime.recordings.outcome import Answer, attempt, failure
from voxport.runtime.recordings.progress_bar import ProgressBar

_RECORDING = Recording("a.wav", "a", "a", Path("a.wav"))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errors.AudioError("empty"), False),
        (errors.AnnotationError("no such speaker"), False),
        (errors.OptionsError("too many speakers"), False),
        (errors.InputError("of another shape"), False),
        (errors.CorpusError("cannot be read"), False),
        (errors.MissingDependencyError("needs ffmpeg"), False),
        (FileNotFoundError(errno.ENOENT, "no such file"), False),
        (OSError("without a number"), False),
        (OSError(errno.EMFILE, "too many open files"), True),
        (OSError(errno.ENOSPC, "no space for a temporary file"), True),
        (errors.DeviceError("lost"), True),
        (errors.ServerError("does not answer"), True),
        (errors.OutOfMemoryError("full"), True),
        (errors.ArtifactError("damaged"), True),
        (errors.SessionClosedError("closed"), True),
        (errors.VoxportError("CUDA failure 719"), True),
        (MemoryError(), True),
        (ValueError("a defect"), True),
    ],
)
def test_whose_an_error_is(error: Exception, expected: bool) -> None:
    outcome = failure(_RECORDING, error)
    assert outcome.may_be_workers is expected
    assert pickle.loads(pickle.dumps(outcome)) == outcome

    def work(*_: object) -> Answer:
        raise error

    assert attempt(work, _RECORDING, ProgressBar(None)).may_be_workers is expected


def test_an_answer_is_nobodys_fault() -> None:
    outcome = attempt(lambda *_: Answer({}), _RECORDING, ProgressBar(None))
    assert (outcome.answer, outcome.may_be_workers) == (Answer({}), False)
