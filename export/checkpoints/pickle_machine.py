"""A pickle machine that acts on plain containers and stand-ins only.

The interpreter's own machine asks each object how it wants to be filled, so a pickle reaches every
method that an object happens to have: ``__setstate__`` of a tensor resizes its storage, ``add``
and ``__setitem__`` compute. This one knows the few types that each opcode may act on.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, TypeVar

from ..errors import CorruptCheckpointError, UnsafeCheckpointError

_Container = TypeVar("_Container", dict[object, object], list[object], set[object])


class StandIn(dict[object, object]):
    """In place of an object of a class that is not to be imported: what the pickle said of it.

    A dictionary, because some of these classes are; ``arguments`` are those it was made with
    and ``state`` is what was to be restored into it.
    """

    arguments: tuple[object, ...]
    state: object

    def __new__(cls, *arguments: object) -> StandIn:
        made = super().__new__(cls)
        made.arguments = arguments
        made.state = None
        return made

    def __init__(self, *_: object) -> None:
        super().__init__()

    __hash__ = object.__hash__  # type: ignore[assignment]


_KEYS = (str, int, float, bytes, type(None), StandIn)


class Call:
    """A function of ours that a pickle may call."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., object]) -> None:
        self._function = function

    def __call__(self, *arguments: object) -> object:
        return self._function(*arguments)


def checked_keys(values: Iterable[object]) -> None:
    """Raise CorruptCheckpointError for a key but plain values, stand-ins and tuples of them.

    The interpreter hashes tuples in tuples without a limit, and crashes on a deep one.
    """
    for value in values:
        parts = value if isinstance(value, tuple) else (value,)
        strange = next((part for part in parts if not isinstance(part, _KEYS)), None)
        if strange is not None:
            raise CorruptCheckpointError(f"its pickle has a {_type(strange)} as a key")


# The interpreter's reader in Python, because the opcodes of the one in C cannot be replaced.
class PickleMachine(pickle._Unpickler):
    """Reads a pickle whose globals are ``Call``, ``StandIn`` itself, or inert.

    ``load`` raises UnsafeCheckpointError where the pickle would call, alter or fill anything else.
    """

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict(pickle._Unpickler.dispatch)
    stack: list[Any]
    pop_mark: Callable[[], list[Any]]

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data))
        # Arguments are copied, and one list may be an argument many times. Honest arguments are
        # written out each time, at a byte or more each.
        self._unclaimed_arguments = len(data)

    def _call(self, function: object, arguments: object) -> object:
        if not (isinstance(function, Call) or function is StandIn):
            raise UnsafeCheckpointError(f"its pickle would call a {_type(function)}")
        if not isinstance(arguments, tuple):
            raise CorruptCheckpointError("its pickle calls with arguments that are not a tuple")
        self._unclaimed_arguments -= len(arguments)
        if isinstance(function, Call):
            lists = (each for each in arguments if isinstance(each, (list, tuple)))
            self._unclaimed_arguments -= sum(len(each) for each in lists)
        if self._unclaimed_arguments < 0:
            raise CorruptCheckpointError("its pickle repeats arguments beyond its own length")
        return function(*arguments)

    def _filled(self, kind: type[_Container]) -> _Container:
        target = self.stack[-1]
        if not isinstance(target, kind):
            raise UnsafeCheckpointError(f"its pickle would alter a {_type(target)}")
        return target

    def _reduce(self) -> None:
        arguments = self.stack.pop()
        self.stack[-1] = self._call(self.stack[-1], arguments)

    def _newobj_ex(self) -> None:
        self.stack.pop()  # keyword arguments, which no stand-in keeps
        self._reduce()

    def _instantiate(self, function: object, arguments: Iterable[object]) -> None:
        self.stack.append(self._call(function, tuple(arguments)))

    def _build(self) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        if isinstance(target, StandIn):
            target.state = state
        # A state dict's is its ``_metadata``, the versions of its modules; nothing here needs it.
        elif type(target) is not OrderedDict:
            raise UnsafeCheckpointError(f"its pickle would alter a {_type(target)}")

    def _append(self) -> None:
        value = self.stack.pop()
        self._filled(list).append(value)

    def _appends(self) -> None:
        values = self.pop_mark()
        self._filled(list).extend(values)

    def _setitem(self) -> None:
        self._set([self.stack.pop(-2), self.stack.pop()])

    def _setitems(self) -> None:
        self._set(self.pop_mark())

    def _set(self, values: list[object]) -> None:
        checked_keys(values[::2])
        self._filled(dict).update(zip(values[::2], values[1::2], strict=True))

    def _dict(self) -> None:
        values = self.pop_mark()
        self.stack.append({})
        self._set(values)

    def _additems(self) -> None:
        values = self.pop_mark()
        checked_keys(values)
        self._filled(set).update(values)

    def _frozenset(self) -> None:
        values = self.pop_mark()
        checked_keys(values)
        self.stack.append(frozenset(values))

    dispatch |= {
        pickle.REDUCE[0]: _reduce,
        pickle.NEWOBJ[0]: _reduce,
        pickle.NEWOBJ_EX[0]: _newobj_ex,
        pickle.BUILD[0]: _build,
        pickle.APPEND[0]: _append,
        pickle.APPENDS[0]: _appends,
        pickle.SETITEM[0]: _setitem,
        pickle.SETITEMS[0]: _setitems,
        pickle.DICT[0]: _dict,
        pickle.ADDITEMS[0]: _additems,
        pickle.FROZENSET[0]: _frozenset,
    }


def _type(value: object) -> str:
    return type(value).__name__
