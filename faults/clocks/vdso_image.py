"""The vDSO as bytes: where its functions begin, the room behind them, and the functions that take their place. Pure.

The new functions make the real system call and then add, for clocks of the day (REALTIME, its coarse form, TAI) and for
clocks that count (MONOTONIC, its raw and coarse forms, BOOTTIME) apart: an offset, and what the clock has gained since
an *epoch* by running at another rate. So a clock that drifts does it smoothly, with nobody moving it. The numbers lie
behind the code in two slots and a count of their exchanges, whose last bit says which is in use. A function that finds
another count after its system call than before begins again: no time is ever made of an old reading and new numbers.

Sources: System V ABI (program headers, dynamic section, symbol table), vdso(7), Linux ``arch/x86/entry/vdso``.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

MAGIC = b"CAPSIZE1"

# lea r8,[rip+data]; retry: r10 = [r8]; mov eax,228; syscall; test eax,eax; jnz out;
# edi in (0,5,11): ecx=0, in (1,4,6,7): ecx=24, else ret; r11 = r8 + ecx + 48*(r10 & 1); r9 = 10**9*[rsi] + [rsi+8];
# rax = ((r9 - [r11+16]) * [r11+24] >> 32) + [r11+8] + r9; cmp r10,[r8]; jne retry;
# rax, rdx = divmod(rax, 10**9) (floored); [rsi] = rax; [rsi+8] = rdx; xor eax,eax; out: ret
_CLOCK_GETTIME = bytes.fromhex(
    "4c8d05a10000004d8b10b8e40000000f0585c00f858300000085ff741f83ff05741a83ff0b741583ff01741483ff04740f83ff06740a83"
    "ff077405c331c9eb05b9180000004489d083e0016bc03001c14d8d1c084c8b0e4d69c900ca9a3b4c034e084c89c8492b431049f76b1848"
    "0facd020490343084c01c84d3b1075894899b900ca9a3b48f7f94885d279064801ca48ffc84889064889560831c0c3cccccc"
)
MARK = len(_CLOCK_GETTIME)
DATA = MARK + len(MAGIC)
SLOT_SIZE = 48
TOKEN = DATA + 8 + 2 * SLOT_SIZE
HEAD_SIZE = TOKEN + 8

# r8=rdi; r9=rsi; clock_gettime(0, rsp); if r8: [r8] = seconds, [r8+8] = ns / 1000; if r9: [r9] = 0; return 0
# (the clock's function changes r8 and r9, so both are kept on the stack)
_GETTIMEOFDAY = bytes.fromhex(
    "57564883ec1831ff4889e6e8111111114c8b4424204c8b4c24184d85c0741a488b0424498900488b44240831d2b9e803000048f7f14989"
    "40084d85c9740749c701000000004883c42831c0c3"
)
_GETTIMEOFDAY_CALL = 12

# r8=rdi; clock_gettime(0, rsp); rax = seconds; if r8: [r8] = rax; ret
_TIME = bytes.fromhex("574883ec1031ff4889e6e811111111488b04244883c4105f4885ff7403488907c3")
_TIME_CALL = 11

JUMP = 5
NAMES = ("clock_gettime", "gettimeofday", "time")
RATE_ONE = 1 << 32


class ImageError(Exception):
    """Bytes of which nothing can be made, with the reason."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Offset:
    """What is added to a clock that shows ``raw_ns``: ``ns``, and what it gained since ``epoch_ns``."""

    ns: int = 0
    epoch_ns: int = 0
    rate: int = 0
    """Nanoseconds gained in 2^32."""

    def at(self, raw_ns: int) -> int:
        """As the new functions compute it."""
        return ((raw_ns - self.epoch_ns) * self.rate >> 32) + self.ns


@dataclass(frozen=True, kw_only=True, slots=True)
class Offsets:
    """What is added to a process's clocks."""

    realtime: Offset = Offset()
    monotonic: Offset = Offset()

    def pack(self) -> bytes:
        """A slot."""
        numbers = [number for each in (self.realtime, self.monotonic) for number in (each.ns, each.epoch_ns, each.rate)]
        return struct.pack("<6q", *numbers)

    @classmethod
    def unpack(cls, slot: bytes) -> Offsets:
        """The inverse."""
        (*first,) = struct.unpack("<6q", slot)
        made = [Offset(ns=ns, epoch_ns=epoch, rate=rate) for ns, epoch, rate in (first[:3], first[3:])]
        return cls(realtime=made[0], monotonic=made[1])


@dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """The vDSO of a kernel. The same for all processes, at another address in each."""

    content: bytes
    functions: Mapping[str, int]
    room: int

    def block(self, offsets: Offsets, token: int) -> bytes:
        """What is written into the room: no exchange yet, both slots alike."""
        head = _CLOCK_GETTIME + MAGIC + bytes(8) + 2 * offsets.pack() + struct.pack("<Q", token)
        second = _calling(_GETTIMEOFDAY, _GETTIMEOFDAY_CALL, HEAD_SIZE)
        return head + second + _calling(_TIME, _TIME_CALL, HEAD_SIZE + len(second))

    def jumps(self) -> dict[int, bytes]:
        """What is written where the functions begin."""
        ours = {"clock_gettime": 0, "gettimeofday": HEAD_SIZE, "time": HEAD_SIZE + len(_GETTIMEOFDAY)}
        return {
            place: b"\xe9" + struct.pack("<i", self.room + ours[name] - (place + JUMP))
            for name, place in self.functions.items()
        }

    def original(self) -> dict[int, bytes]:
        """What undoes it."""
        return {place: self.content[place : place + JUMP] for place in self.functions.values()}


def _calling(code: bytes, call: int, place: int) -> bytes:
    """The code for a place in the block, with its call of the block's first function."""
    return code[:call] + struct.pack("<i", -(place + call + 4)) + code[call + 4 :]


def image_of(content: bytes) -> Image:
    """What can be done with these bytes, a whole mapping.

    Raises:
        ImageError: it is no 64-bit object with these functions and that room.
    """
    if content[:5] != b"\x7fELF\x02":
        raise ImageError("the kernel's vDSO is not a 64-bit object")
    loaded, dynamic = _segments(content)
    found = _functions(content, dynamic)
    missing = [name for name in NAMES if found.get(f"__vdso_{name}", (0, 0))[1] < JUMP]
    if missing:
        raise ImageError(f"the kernel's vDSO has no function __vdso_{missing[0]}")
    room = -(-loaded // 16) * 16
    needed = HEAD_SIZE + len(_GETTIMEOFDAY) + len(_TIME)
    if room + needed > len(content):
        raise ImageError(f"the kernel's vDSO has no room for {needed} bytes behind its {loaded}")
    return Image(content=content, functions={name: found[f"__vdso_{name}"][0] for name in NAMES}, room=room)


def _segments(content: bytes) -> tuple[int, dict[int, int]]:
    """Where what is loaded ends (only section headers and the like follow, which nothing at run time reads), and the
    dynamic section.
    """
    (headers,), (count,) = struct.unpack_from("<Q", content, 32), struct.unpack_from("<H", content, 56)
    loaded, dynamic = 0, {}
    for number in range(count):
        kind, _, offset, _, _, _, size = struct.unpack_from("<IIQQQQQ", content, headers + 56 * number)
        if kind == 1:
            loaded = max(loaded, offset + size)
        elif kind == 2:
            dynamic = dict(struct.iter_unpack("<QQ", content[offset : offset + size // 16 * 16]))
    return loaded, dynamic


def _functions(content: bytes, dynamic: Mapping[int, int]) -> dict[str, tuple[int, int]]:
    """Place and size of every dynamic function symbol."""
    names, symbols = dynamic.get(5, 0), dynamic.get(6, 0)
    last = len(content) - 24
    found = {}
    for at in range(symbols, min(names, last) if names > symbols else last, 24):
        name, info, _, section, value, size = struct.unpack_from("<IBBHQQ", content, at)
        if info & 15 == 2 and section and value + size <= len(content):
            start = names + name
            found[content[start : content.index(b"\0", start)].decode(errors="replace")] = (value, size)
    return found
