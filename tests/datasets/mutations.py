"""Damage to the bytes of a file, of the kinds that transfers, disks and programs do."""

import re
import struct
from dataclasses import dataclass

from hypothesis import strategies as st

_NUMBER = re.compile(rb"(?<![\w.])-?\d+(?:\.\d+)?(?:e[-+]?\d+)?(?![\w.])")
TOKENS = (
    b"nan", b"inf", b"-inf", b"1e999", b"1e300", b"1e38", b"-1", b"0", b"2147483648", b"4294967295", b"99999999999",
    b"18446744073709551616", b"9" * 400, b"0.5", b"1e-320", b"x", b"--", b"0x10", b"1_000", b"1,000", b"", b"\xff",
    b"\x00", "é".encode(), "\u0662".encode(), "\u00b2".encode(), b"\n", b"#", b'"', b"../x", b"/x", b"[", b"{}",
    b"null",
)  # fmt: skip
PATTERNS = (
    *(struct.pack("<f", value) for value in (float("nan"), float("inf"), 3e38, -1.0, 0.0)),
    *(struct.pack("<d", value) for value in (float("nan"), float("-inf"), 1e300, -1.0)),
    *(struct.pack("<i", value) for value in (-1, 0, 1, 2**31 - 1, -(2**31))),
    *(struct.pack("<q", value) for value in (-1, 0, 2**31, 2**40, 2**63 - 1, -(2**63))),
    *(struct.pack(">q", value) for value in (2**31, 2**40, -(2**62))),
    b"\xff", b"\x00", b"\x7f", b"\n", b",",
)  # fmt: skip
KINDS = (
    "number", "number", "number", "overwrite", "overwrite", "flip", "flip", "insert", "delete", "duplicate", "truncate",
    "zeros", "noise", "lines",
)  # fmt: skip


@dataclass(frozen=True)
class Damage:
    """One change. ``at`` and ``to`` are places, as parts of a million of the file's length."""

    kind: str
    at: int
    to: int
    length: int
    choice: int
    noise: bytes

    def done_to(self, content: bytes) -> bytes:
        """The content with this change."""
        return getattr(self, f"_{self.kind}")(content, self.at * len(content) // 1_000_000)

    def _number(self, content, at):
        """A number becomes another, or none: the first one after ``at`` (or the first of all)."""
        found = _NUMBER.search(content, at) or _NUMBER.search(content)
        if found is None:
            return self._overwrite(content, at)
        return content[: found.start()] + TOKENS[self.choice % len(TOKENS)] + content[found.end() :]

    def _overwrite(self, content, at):
        pattern = PATTERNS[self.choice % len(PATTERNS)]
        at -= at % 4 if self.length % 2 else 0  # numbers of binary files are mostly aligned
        return (content[:at] + pattern + content[at + len(pattern) :])[: max(len(content), at + len(pattern))]

    def _flip(self, content, at):
        return content[:at] + bytes(byte ^ 1 << self.choice % 8 for byte in content[at : at + 1]) + content[at + 1 :]

    def _insert(self, content, at):
        return content[:at] + self.noise + content[at:]

    def _delete(self, content, at):
        return content[:at] + content[at + self.length :]

    def _duplicate(self, content, at):
        to = self.to * len(content) // 1_000_000
        return content[:to] + content[at : at + 4 * self.length] + content[to:]

    def _truncate(self, content, at):
        return content[:at]

    def _zeros(self, content, at):
        return content[:at] + bytes(len(content[at : at + self.length])) + content[at + self.length :]

    def _noise(self, content, at):
        return content[:at] + self.noise + content[at + len(self.noise) :]

    def _lines(self, content, at):
        """Two lines change places."""
        lines = content.split(b"\n")
        one, two = at % len(lines), self.to % len(lines)
        lines[one], lines[two] = lines[two], lines[one]
        return b"\n".join(lines)


_DAMAGE = st.builds(
    Damage,
    kind=st.sampled_from(KINDS),
    at=st.integers(0, 1_000_000),
    to=st.integers(0, 1_000_000),
    length=st.integers(1, 64),
    choice=st.integers(0, 1_000),
    noise=st.binary(min_size=1, max_size=12),
)


@st.composite
def damaged(draw, content: bytes, first: int = 1_000_000):
    """Other bytes than ``content``. Half of the changes lie within its ``first`` bytes, where headers are."""
    whole = draw(st.integers(0, 40))
    if whole == 0:
        return draw(st.sampled_from([b"", b"\n", bytes(len(content)), b"\xff" * len(content), content * 2]))
    if whole == 1:
        return draw(st.binary(max_size=200))
    changed = content
    for damage in draw(st.lists(_DAMAGE, min_size=1, max_size=3)):
        near = draw(st.booleans()) and first < len(changed)
        changed = damage.done_to(changed[:first]) + changed[first:] if near else damage.done_to(changed)
    return changed
