"""The same work on many recordings: one that fails does not stop the others."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..errors import OptionsError
from .files import Found, Recording, check_names, find_recordings
from .outcome import Answer, Opened, Outcome, Work, attempt, failure
from .progress_bar import ProgressBar
from .writing import OutputError, PipeClosedError, make_folder, print_at_once, write_whole

_FAILED = 1
# As a shell reports a process that SIGPIPE ended, which Python ignores.
_PIPE_CLOSED = 141


@dataclass(frozen=True)
class Outputs:
    """In which formats results come, and which of these several recordings may share."""

    formats: tuple[str, ...]
    shared: tuple[str, ...] = ()
    binary: tuple[str, ...] = ()


def checked_formats(text: str, known: Mapping[str, object]) -> tuple[str, ...]:
    """The names of ``--format``, each once.

    Raises:
        OptionsError: a name that is not known.
    """
    names = tuple(dict.fromkeys(name.strip().lower() for name in text.split(",")))
    for name in names:
        if name not in known:
            raise OptionsError(f"--format: no format {name!a:.40}; there are {', '.join(known)}")
    return names


def check_outputs(options: argparse.Namespace, outputs: Outputs) -> None:
    """What ``run_recordings`` checks first, for a command that has long work before it.

    Raises:
        OptionsError: options that contradict each other, or files that do.
        VoxportError: the folder for results cannot be made.
    """
    _check(options, outputs, find_recordings(options.files).recordings)


def run_recordings(
    options: argparse.Namespace,
    outputs: Outputs,
    opened: Opened,
) -> int:
    """Do the work on every recording that ``options.files`` names; the exit status.

    ``opened`` gives the work, with its networks loaded; without a recording nothing is loaded. A
    closed pipe ends it without a word, with 141. An interrupt, or a result that cannot be
    printed, says how far it came and goes on to the caller.

    Raises:
        OptionsError: options that contradict each other, or files that do.
        VoxportError: whatever concerns all recordings: no network, no folder, no output.
    """
    found = find_recordings(options.files)
    run = _Run(options, outputs, _bar(options))
    _check(options, outputs, found.recordings)
    for problem in found.problems:
        run.fail(problem)
    try:
        if found.recordings:
            with opened() as work:
                run.all(found.recordings, work)
    except PipeClosedError:
        # Nobody wants to know the rest.
        run.bar.clear()
        return _PIPE_CLOSED
    except BaseException:
        # An interrupt, or nothing to print to: a clean line, and how far it came.
        run.finish(found)
        raise
    run.finish(found)
    return _FAILED if run.problems else 0


def _bar(options: argparse.Namespace) -> ProgressBar:
    return ProgressBar(sys.stderr if sys.stderr.isatty() and not options.quiet else None)


def _check(options: argparse.Namespace, outputs: Outputs, recordings: list[Recording]) -> None:
    """Raise what would be found out only after hours otherwise."""
    check_names(recordings)
    formats = outputs.formats
    if options.output is not None:
        make_folder(options.output)
    elif getattr(options, "plot", False):
        raise OptionsError("--plot writes a picture for each file: give a folder with -o")
    elif len(formats) > 1:
        raise OptionsError("one format can be printed: give a folder with -o for several")
    elif formats[0] in outputs.binary:
        raise OptionsError(f"{formats[0]} cannot be printed: give a folder with -o")
    elif len(recordings) > 1 and formats[0] not in outputs.shared:
        raise OptionsError(
            f"{formats[0]} does not say which file it is of: give a folder with -o, or one file"
        )


@dataclass
class _Run:
    """What all recordings have in common, and how it went so far."""

    options: argparse.Namespace
    outputs: Outputs
    bar: ProgressBar
    num_done: int = 0
    problems: list[str] = field(default_factory=list)

    def all(self, recordings: list[Recording], work: Work) -> None:
        for number, recording in enumerate(recordings, start=1):
            place = f"[{number}/{len(recordings)}] " if len(recordings) > 1 else ""
            self.bar.begin(f"{place}{recording.file_id}")
            self._attempt(recording, work)

    def _attempt(self, recording: Recording, work: Work) -> None:
        """One recording. Whatever is wrong with it, the others are done."""
        outcome = attempt(work, recording, self.bar)
        if outcome.answer is not None:
            outcome = self._given(outcome, outcome.answer)
        if outcome.answer is None:
            self.bar.clear()
            sys.stderr.write(outcome.trace)
            self.fail(outcome.problem)
        else:
            self.num_done += 1

    def _given(self, outcome: Outcome, answer: Answer) -> Outcome:
        """What became of it in the end: an answer that cannot be given is a failure."""
        try:
            self._give(outcome.recording, answer)
        except (PipeClosedError, OutputError):
            raise
        except Exception as error:
            return failure(outcome.recording, error)
        return outcome

    def _give(self, recording: Recording, answer: Answer) -> None:
        self.bar.clear()
        if self.options.output is None:
            print_at_once("".join(str(each) for each in answer.contents.values()))
        else:
            write_whole(self.options.output, answer.named(recording))
        if answer.note and not self.options.quiet:
            sys.stderr.write(f"{recording.file_id}: {answer.note}\n")

    def fail(self, problem: str) -> None:
        """Tell what is wrong with a recording at once: the others may take hours."""
        self.problems.append(problem)
        self.bar.clear()
        sys.stderr.write(f"voxport: {problem}\n")

    def finish(self, found: Found) -> None:
        """Take the bar away, and say how many were done and how many were not."""
        self.bar.clear()
        total = len(found.recordings) + len(found.problems)
        if total > 1 and not self.options.quiet and self.num_done + len(self.problems):
            sys.stderr.write(self._summary(total))

    def _summary(self, total: int) -> str:
        rest = total - self.num_done - len(self.problems)
        parts = [f"{self.num_done} {'file' if self.num_done == 1 else 'files'} done"]
        parts += [f"{len(self.problems)} failed"] if self.problems else []
        parts += [f"{rest} not done"] if rest else []
        return f"{', '.join(parts)}\n"
