"""A corpus, diarized."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CorpusError

if TYPE_CHECKING:
    from ..diarization.work import DiarizationWork
    from ..recordings.outcome import Work
    from .engines import Engine
    from .report import CorpusReport
    from .run import Watcher

# A card is idle while the turns of a recording are clustered, and while the next one is read.
_FILES_PER_CARD = 4


def diarize_corpus(  # noqa: PLR0913 -- what, where to, how, by whom
    inputs: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    work: DiarizationWork | None = None,
    *,
    engine: Engine | None = None,
    redo: bool = False,
    watcher: Watcher | None = None,
) -> CorpusReport:
    """Who spoke when, in any number of recordings: ``voxport diarize`` with a corpus.

    Each recording gives FOLDER/NAME.FORMAT. The turns of all are in ``turns.parquet``, how it
    went is in ``report.json``, and ``.voxport`` holds what a later run needs to know. A script that
    has several processes do it calls this under ``if __name__ == "__main__":``, since each of
    them imports the script.

    Args:
        inputs: one or several files, folders, globs, manifests or URLs.
        output: the folder.
        work: how, and in which formats; as the command's defaults where None.
        engine: this process, several, or a Ray cluster; this process where None.
        redo: do again what is done.
        watcher: is told how it goes.

    Raises:
        VoxportError: as ``run_corpus``; what is wrong with one recording is in the report.
    """
    from ..diarization.work import DiarizationWork  # noqa: PLC0415 -- loads numpy, scipy and more
    from ..locate import find_models  # noqa: PLC0415
    from .engines import Engine  # noqa: PLC0415
    from .run import run_corpus  # noqa: PLC0415

    several = [inputs] if isinstance(inputs, str | os.PathLike) else inputs
    work = work or DiarizationWork()
    # Workers may run in other folders.
    work = replace(work, models=find_models(work.models).absolute())
    work, engine = _fitted(work, engine or Engine())
    configuration = work.configuration()
    return run_corpus(
        [os.fspath(each) for each in several],
        Path(output),
        partial(_opened_alike, work, configuration),
        configuration,
        engine=engine,
        redo=redo,
        watcher=watcher,
    )


@contextmanager
def _opened_alike(work: DiarizationWork, configuration: Mapping[str, Any]) -> Iterator[Work]:
    """The work, unless this machine has other networks than the one that the run was begun on.

    Raises:
        CorpusError: it has; results would not be what their records say.
        VoxportError: as ``DiarizationWork.opened``.
    """
    if work.configuration() != configuration:
        raise CorpusError(
            f"{work.models}: a worker finds other artifacts there than the machine on which the "
            "run was begun: give all nodes the same models folder; where an Apple machine takes "
            "Core ML packages and others do not, name a device"
        )
    with work.opened() as opened:
        yield opened


def _fitted(work: DiarizationWork, engine: Engine) -> tuple[DiarizationWork, Engine]:
    """Threads that share the processors, and enough recordings at once to keep a card busy."""
    on_card = _is_on_card(work, engine)
    if engine.files_at_once is None:
        engine = replace(engine, files_at_once=_FILES_PER_CARD if on_card else 1)
    if on_card and engine.at_once > 1:
        work = replace(work, options=replace(work.options, batch_across_calls=True))
    if work.threads is None:
        work = replace(work, threads=engine.threads_per_worker())
    return work, engine


def _is_on_card(work: DiarizationWork, engine: Engine) -> bool:
    if work.device != "auto":
        return not work.device.startswith("cpu")
    if engine.name == "ray":
        return engine.gpus_per_worker > 0
    from ..devices import plan_device  # noqa: PLC0415
    from ..environment import known_environment  # noqa: PLC0415

    return plan_device("auto", known_environment(), work.options).device != "cpu"
