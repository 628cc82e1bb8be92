"""Pickles that act on what they were given, in both of torch's formats: refused, each by type."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections import OrderedDict, defaultdict
from collections.abc import Callable

import pytest
import torch
from voxport.export.checkpoints.content import read_content
from voxport.export.checkpoints.torch_file import read_torch_zip
from voxport.export.checkpoints.torch_legacy import read_torch_legacy
from voxport.export.errors import CorruptCheckpointError, UnsafeCheckpointError

NUMBERS = struct.pack("<4f", 1.0, 2.0, 3.0, 4.0)
Opcodes = str | bytes


def joined(*parts: Opcodes) -> bytes:
    return b"".join(part.encode() if isinstance(part, str) else part for part in parts)


def call(name: str, *arguments: Opcodes) -> bytes:
    return joined(f"c{name}\n(", *arguments, "tR")


def natural(*values: int) -> str:
    return "(" + "".join(f"I{value}\n" for value in values) + "t"


class Format:
    """One of the two containers, around a pickle of our own making."""

    def __init__(self, *, legacy: bool) -> None:
        self.legacy = legacy

    def storage(self, count: int = 4, key: str = "0") -> bytes:
        view = "N" if self.legacy else ""
        kind = "ctorch\nFloatStorage\n"
        return joined(f"(S'storage'\n{kind}S'{key}'\nS'cpu'\nI{count}\n{view}tQ")

    def tensor(self, count: int = 4) -> bytes:
        return call(
            "torch._utils\n_rebuild_tensor_v2",
            self.storage(count),
            f"I0\n{natural(count)}{natural(1)}I00\nN",
        )

    def parameter(self) -> bytes:
        return call("torch._utils\n_rebuild_parameter", self.tensor(), "I00\nN")

    def state(self, size: int, stride: int, count: int = 4) -> bytes:
        """What ``Tensor.__setstate__`` takes: storage, offset, size, stride."""
        return joined("(", self.storage(count), f"I0\n{natural(size)}{natural(stride)}t")

    def read(self, value: bytes, count: int = 4) -> object:
        numbers = NUMBERS[: 4 * count]
        pickled = b"\x80\x02" + value + b"."
        if not self.legacy:
            stream = io.BytesIO()
            with zipfile.ZipFile(stream, "w") as archive:
                archive.writestr("a/data.pkl", pickled)
                archive.writestr("a/data/0", numbers)
            return read_torch_zip(stream)
        head = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
        parts = [*(pickle.dumps(each, 2) for each in head), pickled, pickle.dumps(["0"], 2)]
        return read_torch_legacy(io.BytesIO(joined(*parts, struct.pack("<q", count), numbers)))

    def saved(self, value: object) -> io.BytesIO:
        stream = io.BytesIO()
        torch.save(value, stream, _use_new_zipfile_serialization=not self.legacy)
        stream.seek(0)
        return stream


@pytest.fixture(params=["zip", "legacy"])
def torch_format(request: pytest.FixtureRequest) -> Format:
    return Format(legacy=request.param == "legacy")


def test_the_parts_of_these_tests_are_sound(torch_format: Format) -> None:
    for part in (torch_format.storage(), torch_format.tensor(), torch_format.parameter()):
        found = torch_format.read(part)
        assert isinstance(found, torch.Tensor)
        assert found.tolist() == [1.0, 2.0, 3.0, 4.0]


TARGETS: dict[str, Callable[[Format], bytes]] = {
    "storage": Format.storage,
    "tensor": Format.tensor,
    "parameter": Format.parameter,
}
NESTS: dict[str, tuple[bytes, bytes]] = {
    "bare": (b"", b""),
    "state dict": (b"(dS'state_dict'\n(dS'w'\n", b"ss"),
    "ordered": (b"ccollections\nOrderedDict\n)RS'w'\n", b"s"),
    "list": (b"((d(l", b"at"),
    "stand-in": (b"cargparse\nNamespace\n)R(dS'w'\n", b"sb"),
}
# A thousand numbers of the heap, more than any memory, and one number repeated.
STATES = {"resized": (1 << 10, 1), "huge": (1 << 40, 1), "repeated": (1 << 40, 0)}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("nest", NESTS)
def test_no_state_reaches_a_tensor(
    torch_format: Format, nest: str, target: str, state: str
) -> None:
    before, after = NESTS[nest]
    altered = joined(TARGETS[target](torch_format), torch_format.state(*STATES[state]), "b")
    with pytest.raises(UnsafeCheckpointError, match="alter a Tensor"):
        torch_format.read(before + altered + after)


def test_no_state_grows_an_empty_storage(torch_format: Format) -> None:
    altered = joined(torch_format.tensor(0), torch_format.state(1 << 20, 1, 0), "b")
    with pytest.raises(UnsafeCheckpointError, match="alter a Tensor"):
        torch_format.read(altered, count=0)


def test_no_view_exceeds_its_storage(torch_format: Format) -> None:
    for count, size, stride, offset in (
        (4, 1 << 40, 0, 0),
        (4, 5, 0, 0),
        (0, 1, 0, 0),
        (4, 0, 1, 5),
    ):
        view = f"I{offset}\n{natural(size)}{natural(stride)}I00\nN"
        value = call("torch._utils\n_rebuild_tensor_v2", torch_format.storage(count), view)
        with pytest.raises(CorruptCheckpointError, match="needs more numbers"):
            torch_format.read(value, count=count)


@pytest.mark.parametrize("count", [0, 4])
def test_no_storage_can_be_resized(torch_format: Format, count: int) -> None:
    """The second line: even what calls ``set_`` or ``resize_`` gets no memory that is not its."""
    found = torch_format.read(torch_format.tensor(count), count=count)
    assert isinstance(found, torch.Tensor)
    assert found.shape == (count,)
    assert not found.untyped_storage().resizable()
    with pytest.raises(RuntimeError, match="not resizable"):
        found.resize_(1 << 10)


# Methods that the interpreter's own reader would call, and iterations over single numbers.
ACTIONS: dict[str, tuple[Callable[[Format], bytes], str]] = {
    "setitem": (lambda f: joined(f.tensor(), "I0\nI7\ns"), "alter a Tensor"),
    "setitems": (lambda f: joined(f.tensor(), "(I0\nI7\nu"), "alter a Tensor"),
    "append": (lambda f: joined(f.tensor(), "I7\na"), "alter a Tensor"),
    "appends": (lambda f: joined(f.tensor(), "(I7\ne"), "alter a Tensor"),
    "add": (lambda f: joined(f.tensor(), b"(K\x01\x90"), "alter a Tensor"),
    "call": (lambda f: joined(f.tensor(), ")R"), "call a Tensor"),
    "new": (lambda f: joined(f.tensor(), ")\x81".encode("latin-1")), "call a Tensor"),
    "object": (lambda f: joined("(", f.tensor(), "o"), "call a Tensor"),
    "set": (lambda f: call("builtins\nset", f.tensor()), "not made of a list"),
    "size": (lambda f: call("torch\nSize", f.tensor()), "not made of a list"),
    "ordered": (lambda f: call("collections\nOrderedDict", f.tensor()), "not made of a list"),
    "key": (lambda f: joined("(d", f.tensor(), "Ns"), "a Tensor as a key"),
    "kind": (lambda _: b"ctorch\nFloatStorage\n(N(dS'dtype'\nI1\nstb", "alter a StorageKind"),
    "function": (lambda _: b"ctorch\nSize\n(dS'x'\nI1\nsb", "alter a Call"),
    "class": (lambda _: b"cargparse\nNamespace\n(dS'x'\nI1\nsb", "alter a type"),
    "factory": (
        lambda _: b"ccollections\ndefaultdict\n)R(N(dS'default_factory'\nI1\nstb",
        "alter a dict",
    ),
}


@pytest.mark.parametrize("action", ACTIONS)
def test_nothing_but_containers_is_called_or_filled(torch_format: Format, action: str) -> None:
    make, reason = ACTIONS[action]
    with pytest.raises((UnsafeCheckpointError, CorruptCheckpointError), match=reason):
        torch_format.read(make(torch_format))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"}", b"Ns"),
        (b"}(", b"Nu"),
        (b"(", b"Nd"),
        (b"\x8f(", b"\x90"),
        (b"(", b"\x91"),
        (b"cbuiltins\nset\n((", b"ltR"),
        (b"ccollections\nOrderedDict\n(((", b"NtltR"),
    ],
)
def test_deep_keys_do_not_crash_the_interpreter(
    torch_format: Format, before: bytes, after: bytes
) -> None:
    with pytest.raises(CorruptCheckpointError, match="a tuple as a key"):
        torch_format.read(before + b")" + b"\x85" * (1 << 18) + after)


def test_arguments_cannot_multiply(torch_format: Format) -> None:
    """A list that is one argument many times would be copied each time."""
    numbers = joined("(l", b"q\x00", "(", "I1\n" * 1000, "e0")
    copies = joined("(", b"cbuiltins\nset\nh\x00\x85R" * 1000, "l")
    with pytest.raises(CorruptCheckpointError, match="repeats arguments"):
        torch_format.read(joined("(", numbers, copies, "t"))


def test_no_attribute_hides_a_method(torch_format: Format) -> None:
    value = joined("ccollections\nOrderedDict\n)RS'w'\n", torch_format.tensor(), "s")
    found = torch_format.read(value + b"(dS'items'\nctorch\nSize\nsb")
    assert isinstance(found, OrderedDict)
    assert [name for name, _ in found.items()] == ["w"]


def test_honest_files_still_load(torch_format: Format) -> None:
    network = torch.nn.Sequential(torch.nn.Conv1d(1, 2, 3), torch.nn.BatchNorm1d(2))
    state = network.state_dict(keep_vars=True)
    assert vars(state).keys() == {"_metadata"}
    stream = torch_format.saved({"state_dict": state, "epoch": 3})
    found = read_content(stream, "x.pt").state
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], value) for name, value in state.items())


def test_plain_containers_keep_their_values(torch_format: Format) -> None:
    value = {
        "seen": {1, "a", (2, 0.5)},
        "by_key": {(1, "a"): {}, None: [True, 2.5]},
        "ordered": OrderedDict(a=1),
        "counts": defaultdict(set, {3: {4}}),
        "size": torch.Size([2, 3]),
    }
    stream = torch_format.saved(value)
    found = read_torch_legacy(stream) if torch_format.legacy else read_torch_zip(stream)
    assert found == {**value, "size": (2, 3)}
