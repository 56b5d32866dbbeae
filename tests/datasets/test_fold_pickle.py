"""Pickles are read as pickle.loads reads them, for plain values and arrays; of everything else nothing is run."""

import builtins
import collections
import fractions
import os
import pickle
import random
import socket
import struct
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pointlift.contracts.errors import ArtifactError
from pointlift.datasets import fold_pickle
from pointlift.datasets.fold_pickle import read_pickle, read_pickled

PROTOCOLS = (2, 3, 4, 5)
DTYPES = st.sampled_from(["<f4", ">f4", "<f8", ">f8", "<f2", "|b1", "<i8", ">i2", "|u1", "<u4"])
SHAPES = arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**200), 2**200),
    st.floats(),
    st.text(),
    st.binary(),
    st.tuples(DTYPES, SHAPES).flatmap(lambda kind: arrays.arrays(*kind)),
    DTYPES.flatmap(lambda dtype: arrays.arrays(dtype, ())).map(lambda array: array[()]),
    DTYPES.flatmap(lambda dtype: arrays.arrays(dtype, (3, 4))).map(np.asfortranarray),
)
KEYS = st.one_of(st.text(), st.integers(), st.booleans(), st.none(), st.binary())
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner),
        st.lists(inner).map(tuple),
        st.dictionaries(KEYS, inner),
        inner.map(lambda value: [value, value]),
    ),
    max_leaves=25,
)


def native(array):
    """In this machine's byte order, in which pickle.loads hands arrays out."""
    return array.astype(array.dtype.newbyteorder("="))


def same(one, other) -> bool:
    """Equal, of the same types, bit by bit; arrays in any byte order."""
    if isinstance(one, np.ndarray | np.generic):
        one, other = native(one), native(other)
        alike = (type(one), one.shape, one.dtype) == (type(other), other.shape, other.dtype)
        return alike and one.tobytes() == other.tobytes()
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return struct.pack("d", one) == struct.pack("d", other)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    return one == other


@settings(max_examples=400, deadline=None)
@given(VALUES, st.sampled_from(PROTOCOLS))
def test_plain_values_and_arrays_are_read_as_pickle_reads_them(value, protocol):
    content = pickle.dumps(value, protocol)
    assert same(read_pickled(content, "x"), pickle.loads(content))  # noqa: S301


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("core", [b"numpy.core", b"numpy._core"])
def test_both_names_of_numpys_core_are_known(protocol, core):
    """As numpy 1 and numpy 2 write them; the lengths before the names are written anew."""
    value = {"train": [(np.arange(6.0).reshape(2, 3), 0, np.int32(7))], "test": []}
    content = pickle.dumps(value, protocol)
    for module in (b"multiarray", b"numeric"):
        for held in (b"numpy._core." + module, b"numpy.core." + module):
            wanted = core + b"." + module
            content = content.replace(b"\x8c" + bytes([len(held)]) + held, b"\x8c" + bytes([len(wanted)]) + wanted)
            content = content.replace(b"c" + held, b"c" + wanted)
    if protocol >= 4:  # the frame's length has changed: without frames
        content = content[:2] + content[11:]
    assert core in content
    found = read_pickled(content, "x")
    assert same(found, value)


def test_a_fold_as_the_literature_writes_it():
    rng = np.random.default_rng(0)
    fold = {
        split: [(rng.normal(size=(8192, 6)).astype(np.float32), way, np.int32(way + 3)) for way in range(5)]
        for split in ("train", "test")
    }
    assert all(same(read_pickled(pickle.dumps(fold, protocol), "x"), fold) for protocol in PROTOCOLS)


def test_shared_arrays_stay_shared():
    shared = np.zeros(3)
    found = read_pickled(pickle.dumps([shared, shared]), "x")
    assert found[0] is found[1]


# ---- malicious and malformed ----------------------------------------------------------------------------------------


class Calls:
    """Pickles as a call."""

    def __init__(self, function, *arguments):
        self.called = (function, arguments)

    def __reduce__(self):
        return self.called


class Plain:
    def __init__(self):
        self.x = 1


MALICIOUS = [
    Calls(os.system, "touch hacked"),
    Calls(eval, "open('hacked', 'w')"),
    Calls(exec, "open('hacked', 'w')"),
    Calls(builtins.open, "hacked", "w"),
    Calls(subprocess.Popen, ["touch", "hacked"]),
    Calls(socket.socket),
    Calls(getattr, "x", "upper"),
    Calls(np.load, "hacked"),
    Calls(np.fromfile, "hacked"),
    Calls(np.zeros, (10**9, 10**9)),
    Calls(bytes, 10**15),
    Calls(bytearray, 10**15),
    Calls(str, "x"),
    Calls(list, [1]),
    Calls(np.dtype, "O"),
    Calls(np.dtype, "f4,f4"),
    Calls(np.ndarray, (10**12,)),
    Plain(),
    Plain,
    np.array([Plain()], dtype=object),
    np.array(["text"]),
    np.zeros(2, dtype="f4,i4"),
    np.datetime64("2020-01-01"),
    {1, 2},
    frozenset([1]),
    1j,
    collections.OrderedDict(a=1),
    collections.Counter("aab"),
    fractions.Fraction(1, 2),
    np.random.default_rng(0),
    {(1, 2): 3},
    slice(1, 2),
    2**3000,
]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("number", range(len(MALICIOUS)))
def test_what_names_anything_else_is_refused_and_not_run(number, protocol, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = pickle.dumps({"train": [MALICIOUS[number]], "test": []}, protocol)
    with pytest.raises(ArtifactError, match=r"^x: not a pickle of plain values and numpy arrays: .* at byte \d+: "):
        read_pickled(content, "x")
    assert not list(tmp_path.iterdir())


def test_a_name_is_never_imported(tmp_path, monkeypatch):
    (tmp_path / "trap.py").write_text("open('hacked', 'w').close()\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for content in (
        b"\x80\x02ctrap\nspring\n.",
        b"\x80\x04\x8c\x04trap\x8c\x06spring\x93.",
        b"\x80\x02(itrap\nspring\n.",
    ):
        with pytest.raises(ArtifactError, match=r"GLOBAL.* names trap\.spring|INST"):
            read_pickled(content, "x")
    assert "trap" not in sys.modules and not (tmp_path / "hacked").exists()


PROTO = b"\x80\x04"
BOMBS = {
    "itself": b"\x80\x02]q\x00h\x00a.",
    "itself in a tuple": b"\x80\x02]q\x00h\x00\x85a.",
    "itself in a dict": b"\x80\x02}q\x00K\x01h\x00s.",
    "deep lists": PROTO + b"]" * 5000 + b"a" * 4999 + b".",
    "deep tuples": PROTO + b")" + b"\x85" * 100_000 + b".",
    "deep name": PROTO + b")" + b"\x85" * 100_000 + b"\x8c\x01a\x93.",
    "deep key": PROTO + b"})" + b"\x85" * 100_000 + b"K\x01s.",
    "deep arguments": PROTO + b"\x8c\x05numpy\x8c\x05dtype\x93)" + b"\x85" * 100_000 + b"R.",
    "deep state": PROTO + b"])" + b"\x85" * 100_000 + b"b.",
    "doubled bytes": b"\x80\x02c_codecs\nencode\nq\x00X\x00\x10\x00\x00" + b"a" * 4096
    + b"q\x01X\x06\x00\x00\x00latin1q\x02\x86q\x0300]" + b"h\x00h\x03Ra" * 2000 + b".",
    "marks": PROTO + b"(" * 300_000 + b".",
    "long memo": PROTO + b"N" + b"\x94" * 600_000 + b".",
    "many opcodes": PROTO + b"N0" * 1_100_000 + b"N.",
    "long string": PROTO + b"\x8d" + struct.pack("<Q", 2**62) + b"abc.",
    "long bytes": PROTO + b"\x8e" + struct.pack("<Q", 2**40) + b"abc.",
    "longer than any": PROTO + b"\x8e" + struct.pack("<Q", 2**64 - 1) + b"abc.",
    "long bytearray": b"\x80\x05\x96" + struct.pack("<Q", 2**50) + b"abc.",
    "negative": b"\x80\x02T\xff\xff\xff\xffabc.",
    "long int": PROTO + b"\x8b" + struct.pack("<i", 2**31 - 1) + b"abc.",
    "digits": b"I" + b"9" * 100_000 + b"\n.",
    "digits L": b"L" + b"9" * 100_000 + b"L\n.",
    "text": b"Vabc\n.",
    "protocol 0": pickle.dumps([1, 2], 0),
    "protocol 1": pickle.dumps(os.system, 1),
    "protocol 9": b"\x80\x09N.",
    "persistent": b"Pabc\n.",
    "persistent on the stack": b"\x80\x02NQ.",
    "extension": b"\x80\x02\x82\x01.",
    "buffer": b"\x80\x05\x97.",
    "newobj": b"\x80\x02cbuiltins\nlist\n)\x81.",
    "unread memo": b"\x80\x02h\x07.",
    "no value": b"\x80\x02.",
    "two values": b"\x80\x02NN.",
    "a mark": b"\x80\x02(.",
    "a bare name": b"\x80\x02cnumpy\ndtype\n.",
    "a bare dtype": b"\x80\x02cnumpy\ndtype\nX\x02\x00\x00\x00f4\x89\x88\x87R.",
    "an unfilled array": b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R.",
    "state of a list": b"\x80\x02])b.",
    "an odd dict": b"\x80\x02}(K\x01u.",
    "append to a tuple": b"\x80\x02)Na.",
    "empty": b"",
    "a page": b"<!DOCTYPE html><html>not found</html>",
    "a zip": b"PK\x03\x04" + b"\x00" * 50,
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused(name):
    with pytest.raises(ArtifactError, match=r"^x: not a pickle of plain values and numpy arrays: .* at byte \d+: .+No"):
        read_pickled(BOMBS[name], "x")


def test_values_that_are_shared_are_entered_once():
    steps = b"".join(b"h" + bytes([n]) + b"h" + bytes([n]) + b"\x86\x940" for n in range(60))
    found = read_pickled(PROTO + b")\x940" + steps + b"h\x3c.", "x")  # a tree of 2 ** 60 leaves
    assert found[0] is found[1] and found[0][0] is found[1][1]


def array_pickle(shape=b"K\x02K\x03\x86", dtype=b"f8", order=b"<", content=b"\x00" * 48, version=b"K\x01") -> bytes:
    """An array in protocol 4, piece by piece."""
    name = b"\x8c\x05numpy\x8c\x05dtype\x93\x8c" + bytes([len(dtype)]) + dtype + b"\x89\x88\x87R"
    name += b"(K\x03\x8c" + bytes([len(order)]) + order + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    start = b"\x8c\x15numpy.core.multiarray\x8c\x0c_reconstruct\x93\x8c\x05numpy\x8c\x07ndarray\x93K\x00\x85C\x01b\x87R"
    return PROTO + start + b"(" + version + shape + name + b"\x89C" + bytes([len(content)]) + content + b"tb."


def test_the_array_that_is_damaged_next_is_sound():
    np.testing.assert_array_equal(read_pickled(array_pickle(), "x"), pickle.loads(array_pickle()))  # noqa: S301


@pytest.mark.parametrize(
    "damage",
    [
        {"shape": b"K\x02K\x04\x86"}, {"shape": b"K\x02"}, {"shape": b"]"},
        {"shape": b"J\xff\xff\xff\xffJ\xfa\xff\xff\xff\x86"},
        {"shape": b"K\x06N\x86"}, {"shape": b"(" + b"K\x01" * 9 + b"t"}, {"dtype": b"O"}, {"dtype": b"V8"},
        {"dtype": b"U2"}, {"dtype": b"f16"}, {"dtype": b"i4,i4"}, {"order": b"!"}, {"order": b""}, {"order": b"<<"},
        {"content": b""}, {"content": b"\x00" * 47}, {"version": b"K\x02"}, {"version": b"N"},
        {"shape": b"\x8a\x09" + b"\xff" * 8 + b"\x00K\x06\x86"},
    ],
)  # fmt: skip
def test_damaged_arrays_are_refused(damage):
    with pytest.raises(ArtifactError, match="not a pickle of plain values and numpy arrays"):
        read_pickled(array_pickle(**damage), "x")


def _whole() -> list[bytes]:
    value = {
        "train": [(np.arange(12, dtype=np.float32).reshape(2, 6), 1, np.int32(4)), b"\xff", "é", 2.5, True],
        "test": [()],
    }
    return [pickle.dumps(value, protocol) for protocol in PROTOCOLS]


def test_every_truncation_is_refused():
    count = 0
    for content in _whole():
        for length in range(len(content)):
            with pytest.raises(ArtifactError):
                read_pickled(content[:length], "x")
            count += 1
    assert count > 500


def test_whatever_stands_in_a_file_is_a_value_or_a_clear_error(tmp_path, monkeypatch):
    """Bytes changed, put in, taken out, and noise: no stack trace, nothing made, nothing run."""
    monkeypatch.chdir(tmp_path)
    rng, refused = random.Random(0), 0
    sources = _whole() + [pickle.dumps(Calls(os.system, "touch hacked"), protocol) for protocol in PROTOCOLS]
    for _ in range(6000):
        content = bytearray(rng.choice(sources))
        for _ in range(rng.randint(1, 6)):
            place = rng.randrange(len(content))
            kind = rng.randrange(4)
            if kind == 0:
                content[place] = rng.randrange(256)
            elif kind == 1:
                content[place:place] = rng.randbytes(rng.randint(1, 4))
            elif kind == 2:
                del content[place : place + rng.randint(1, 8)]
            else:
                content[place] = rng.choice(b"()]}.0abcRtsu\x85\x86\x93\x94h")
            content = content or bytearray(b".")
        try:
            read_pickled(bytes(content), "x")
        except ArtifactError as error:
            assert str(error).startswith("x: not a pickle")
            refused += 1
    assert refused > 3000 and not list(tmp_path.iterdir())


def test_files_that_are_too_large_or_missing_are_told(tmp_path, monkeypatch):
    with pytest.raises(ArtifactError, match=r"none\.pkl: no such file"):
        read_pickle(tmp_path / "none.pkl")
    with pytest.raises(ArtifactError, match="no such file"):
        read_pickle(tmp_path)
    path = tmp_path / "0.pkl"
    path.write_bytes(pickle.dumps([1, 2]))
    assert read_pickle(path) == [1, 2]
    monkeypatch.setattr(fold_pickle, "LARGEST_FILE", 5)
    with pytest.raises(ArtifactError, match="larger than 5 bytes"):
        read_pickle(path)


def test_neither_pickle_nor_import_stands_in_the_reader(repository):
    for name in ("fold_pickle", "pickled_arrays"):
        text = (repository / f"workflow_scripts/pointlift/datasets/{name}.py").read_text(encoding="utf-8")
        for word in ("import pickle\n", "__import__", "importlib", "eval(", "exec(", "getattr("):
            assert word not in text
