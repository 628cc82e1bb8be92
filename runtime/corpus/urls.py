"""What lies behind URLs, through fsspec (the extra ``corpus``)."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO

from ..errors import CorpusError, MissingDependencyError

# What file systems call the time or the version of a file's content.
_VERSIONS = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "created")


def is_url(name: str) -> bool:
    return "://" in name


def url_path(url: str) -> str:
    """The URL without its query, such as a signature."""
    return url.split("?", maxsplit=1)[0]


def check_systems(urls: Iterable[str]) -> None:
    """Raise if what a kind of URL needs is not installed; each kind is looked for once.

    Raises:
        MissingDependencyError: fsspec, or what it needs for one of these.
    """
    # One may be read through another: "simplecache::s3://bucket/a.wav".
    examples = {
        part.partition("://")[0]: url
        for url in urls
        for part in url_path(url).split("::")
        if is_url(part)
    }
    for scheme, url in examples.items():
        with suppress(CorpusError), _explained(url):
            import_fsspec().get_filesystem_class(scheme)


def import_fsspec() -> Any:
    """The ``fsspec`` package.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        return importlib.import_module("fsspec")
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "URLs need fsspec, which is not installed: pip install 'voxport[corpus]'"
        ) from error


@contextmanager
def open_url(url: str) -> Iterator[BinaryIO]:
    """The bytes behind a URL, opened for one reading from start to end.

    Raises:
        CorpusError: they cannot be opened, or read within the block.
        MissingDependencyError: fsspec, or what it needs for this kind of URL.
    """
    with _explained(url), import_fsspec().open(url, "rb") as file:
        yield file


def url_version(url: str) -> tuple[int | None, str]:
    """Size in bytes and version (a tag or time) of what lies there; None and "" if unknown.

    Raises:
        CorpusError, MissingDependencyError: as ``open_url``.
    """
    with _explained(url):
        system, path = import_fsspec().core.url_to_fs(url)
        info = system.info(path)
    size = info.get("size")
    version = next((str(info[name]) for name in _VERSIONS if info.get(name)), "")
    return (size if isinstance(size, int) else None), version


def listed(url: str, *, is_pattern: bool) -> list[str] | None:
    """URLs of the files that a pattern matches, or that a folder holds at any depth; sorted.

    None for what is not a folder. Nothing of a file is read to find out.

    Raises:
        CorpusError, MissingDependencyError: as ``open_url``.
    """
    with _explained(url):
        system, path = import_fsspec().core.url_to_fs(url)
        if is_pattern:
            found = system.glob(path, detail=True)
        elif system.isdir(path):
            found = system.find(path, detail=True)
        else:
            return None
        files = (name for name, info in found.items() if info.get("type") != "directory")
        return [str(system.unstrip_protocol(name)) for name in sorted(files)]


@contextmanager
def _explained(url: str) -> Iterator[None]:
    """Errors of a hundred file systems, of any type, as one."""
    try:
        yield
    except MissingDependencyError:
        raise
    except ImportError as error:
        raise MissingDependencyError(f"{url}: {error}") from error
    except Exception as error:
        why = str(error) or type(error).__name__
        raise CorpusError(f"{url}: cannot be read: {why}") from error
