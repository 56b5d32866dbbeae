"""Reading a pickle without unpickling it: nothing that the file names is ever imported or called.

``pickletools.genops`` (Python's own, which only takes a stream apart) gives the opcodes. The few that containers,
numbers, strings and numpy arrays need are carried out here on plain values; every other one is an error that names it
and its place. Protocols 2 to 5.
"""

from __future__ import annotations

import io
import pickletools
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pointlift.contracts.errors import ArtifactError
from pointlift.datasets.pickled_arrays import (
    MAKERS,
    NAMES,
    ArrayRecord,
    DtypeRecord,
    Name,
    RefusedError,
    fill,
    refuse,
    set_byte_order,
)

LARGEST_FILE = 1 << 30  # bytes; a fold of 10 ways, 20 shots, 20 queries of 8,192 points with normals has 79 MB
_MOST_OPCODES, _MOST_ON_STACK, _MOST_MEMORISED, _DEEPEST = 2_000_000, 200_000, 500_000, 64
_MARK = object()
_KEYS = (str, bytes, int, float, type(None))
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_VALUES = frozenset(
    [
        "BININT",
        "BININT1",
        "BININT2",
        "LONG1",
        "BINFLOAT",
        "BINUNICODE",
        "SHORT_BINUNICODE",
        "BINUNICODE8",
        "BINBYTES",
        "SHORT_BINBYTES",
        "BINBYTES8",
        "BYTEARRAY8",
    ]
)


def read_pickle(path: Path) -> Any:
    """The value that a pickle file holds: containers, numbers, strings, bytes, numpy arrays and scalars.

    Raises ``ArtifactError`` naming the file, the opcode and its offset for everything else.
    """
    try:
        if not Path(path).is_file():
            raise ArtifactError(f"{path}: no such file")
        if Path(path).stat().st_size > LARGEST_FILE:
            raise ArtifactError(f"{path}: larger than {LARGEST_FILE} bytes, which no fold is; it is not read")
        return read_pickled(Path(path).read_bytes(), str(path))
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror})") from None


def read_pickled(content: bytes, told: str) -> Any:
    """As ``read_pickle``, of bytes; ``told`` names them in errors."""
    machine, name, place = _Machine(len(content)), "its first opcode", 0
    try:
        for count, (opcode, argument, position) in enumerate(pickletools.genops(io.BytesIO(content))):
            name, place = opcode.name, position or 0
            if count >= _MOST_OPCODES:
                refuse(f"it is opcode number {count}; no more are followed")
            if name == "STOP":
                return machine.result()
            machine.step(name, argument)
        raise RefusedError("the file ends before STOP")
    except RefusedError as error:
        reason = str(error)
    except (ValueError, IndexError, OverflowError, struct.error, EOFError, UnicodeError, MemoryError) as error:
        name, reason = f"what follows {name}", str(error)[:120]  # genops cannot take it apart
    heading = f"{told}: not a pickle of plain values and numpy arrays"
    raise ArtifactError(f"{heading}: {name} at byte {place}: {reason}. Nothing of it was run")


class _Machine:
    """The stack and the memo of a pickle, over plain values."""

    def __init__(self, size: int) -> None:
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._bytes_left = size  # what is encoded is never longer than its text in the file, unless it is made often

    def result(self) -> Any:
        """The one value that is left, with arrays in place of their records."""
        if len(self._stack) != 1 or self._stack[0] is _MARK:
            refuse("must leave exactly one value")
        return _Resolver().resolve(self._stack[0], 0)

    def step(self, name: str, argument: Any) -> None:
        """Carry out one opcode."""
        if name in _VALUES:
            self._push(argument)
        elif name in _CONSTANTS:
            self._push(_CONSTANTS[name])
        elif name in _STEPS:
            _STEPS[name](self, argument)
        else:
            refuse("this opcode is not carried out here")

    def _push(self, value: Any) -> None:
        if len(self._stack) >= _MOST_ON_STACK:
            refuse(f"more than {_MOST_ON_STACK} values wait on the stack")
        self._stack.append(value)

    def _pop(self) -> Any:
        if not self._stack or self._stack[-1] is _MARK:
            refuse("a value is missing on the stack")
        return self._stack.pop()

    def _top(self, kind: type) -> Any:
        if not self._stack or type(self._stack[-1]) is not kind:
            refuse(f"needs a {kind.__name__} on the stack")
        return self._stack[-1]

    def _pop_to_mark(self) -> list[Any]:
        for place in range(len(self._stack) - 1, -1, -1):
            if self._stack[place] is _MARK:
                found = self._stack[place + 1 :]
                del self._stack[place:]
                return found
        refuse("there is no mark on the stack")

    def protocol(self, number: int) -> None:
        if not 2 <= number <= 5:
            refuse(f"protocol {number}; 2 to 5 are read")

    def mark(self, _: Any) -> None:
        self._push(_MARK)

    def drop(self, _: Any) -> None:
        self._pop()

    def tuple_to_mark(self, _: Any) -> None:
        self._push(tuple(self._pop_to_mark()))

    def tuple_of(self, count: int) -> None:
        self._push(tuple([self._pop() for _ in range(count)][::-1]))

    def append(self, _: Any) -> None:
        value = self._pop()
        self._top(list).append(value)

    def appends(self, _: Any) -> None:
        values = self._pop_to_mark()
        self._top(list).extend(values)

    def set_item(self, _: Any) -> None:
        value, key = self._pop(), self._pop()
        self._set(self._top(dict), key, value)

    def set_items(self, _: Any) -> None:
        values = self._pop_to_mark()
        if len(values) % 2:
            refuse("a key has no value")
        held = self._top(dict)
        for key, value in zip(values[::2], values[1::2], strict=True):
            self._set(held, key, value)

    def _set(self, held: dict[Any, Any], key: Any, value: Any) -> None:
        if not isinstance(key, _KEYS):
            refuse(f"a key is a {type(key).__name__}; strings, bytes and numbers can be one")
        held[key] = value

    def remember(self, place: int | None) -> None:
        if not self._stack or self._stack[-1] is _MARK:
            refuse("there is nothing to remember")
        if len(self._memo) >= _MOST_MEMORISED:
            refuse(f"more than {_MOST_MEMORISED} values are remembered")
        self._memo[len(self._memo) if place is None else place] = self._stack[-1]

    def recall(self, place: int) -> None:
        if place not in self._memo:
            refuse(f"nothing was remembered under {place}")
        self._push(self._memo[place])

    def name(self, words: str) -> None:
        module, _, name = words.partition(" ")
        self._push_name(module, name)

    def name_on_stack(self, _: Any) -> None:
        name, module = self._pop(), self._pop()
        self._push_name(module, name)

    def _push_name(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str) or (module, name) not in NAMES:
            told = f"{module[:60]}.{name[:60]}" if isinstance(module, str) and isinstance(name, str) else "no string"
            refuse(f"it names {told}, which is not known here")
        self._push(Name(NAMES[module, name]))

    def reduce(self, _: Any) -> None:
        arguments, called = self._pop(), self._pop()
        if type(called) is not Name or called.role not in MAKERS or type(arguments) is not tuple:
            refuse("only the known names can be given arguments, as a tuple")
        made = MAKERS[called.role](arguments)
        if isinstance(made, bytes):
            self._bytes_left -= len(made)
            if self._bytes_left < 0:
                refuse("it makes more bytes than the file has")
        self._push(made)

    def build(self, _: Any) -> None:
        state = self._pop()
        held = self._stack[-1] if self._stack else None
        if isinstance(held, DtypeRecord) and type(state) is tuple:
            set_byte_order(held, state)
        elif isinstance(held, ArrayRecord) and type(state) is tuple:
            fill(held, state)
        else:
            refuse("only numpy arrays and dtypes have a state here, a tuple")


_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": _Machine.protocol,
    "FRAME": lambda _machine, _size: None,
    "MARK": _Machine.mark,
    "POP": _Machine.drop,
    "POP_MARK": lambda machine, _: machine._pop_to_mark().clear(),
    "EMPTY_LIST": lambda machine, _: machine._push([]),
    "EMPTY_DICT": lambda machine, _: machine._push({}),
    "EMPTY_TUPLE": lambda machine, _: machine._push(()),
    "TUPLE": _Machine.tuple_to_mark,
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "APPEND": _Machine.append,
    "APPENDS": _Machine.appends,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
    "BINPUT": _Machine.remember,
    "LONG_BINPUT": _Machine.remember,
    "MEMOIZE": _Machine.remember,
    "BINGET": _Machine.recall,
    "LONG_BINGET": _Machine.recall,
    "GLOBAL": _Machine.name,
    "STACK_GLOBAL": _Machine.name_on_stack,
    "REDUCE": _Machine.reduce,
    "BUILD": _Machine.build,
}


class _Resolver:
    """Puts arrays in place of their records. Every container is entered once, however often it is shared."""

    def __init__(self) -> None:
        self._done: dict[int, tuple[Any, Any]] = {}  # with the value itself, so that its id stays its own

    def resolve(self, value: Any, depth: int) -> Any:
        """The value. Raises ``RefusedError`` when it holds itself, is too deep, or holds what has no value."""
        if type(value) is ArrayRecord:
            return value.value if value.value is not None else refuse("an array was never filled")
        if type(value) in (Name, DtypeRecord) or value is _MARK:
            refuse("a bare name or dtype is no value")
        if type(value) not in (list, tuple, dict):
            return value
        if id(value) in self._done:
            found = self._done[id(value)][1]
            return found if found is not _MARK else refuse("a container holds itself")
        if depth >= _DEEPEST:
            refuse(f"containers are nested deeper than {_DEEPEST}")
        self._done[id(value)] = (value, _MARK)
        made: Any
        if type(value) is dict:
            made = {key: self.resolve(item, depth + 1) for key, item in value.items()}
        else:
            made = type(value)([self.resolve(item, depth + 1) for item in value])
        self._done[id(value)] = (value, made)
        return made
