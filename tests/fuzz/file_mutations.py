"""Damaged copies of files: deterministic, from single bits to missing halves."""

import os
import resource
from collections.abc import Callable, Iterator

import numpy as np

SCALE = int(os.environ.get("FLPRIVACY_FUZZ", "1"))  # how many times as many mutations as in the suite
_NASTY = (
    b"\0" * 4,
    b"\xff" * 4,
    b"\xff\xff\xff\x7f",
    b"\xfe\xff\xff\xff",
    b"\x80",
    b"-1",
    b"nan",
    b"1e308",
    b"../../x",
    b"%s%n",
    b"\x1b[31m",
    b"\n",
    b"\xfe\xff\x00\xe0\xff\xff\xff\xff",
    b"(lp0\n",
)


def mutate(data: bytes, rng: np.random.Generator, head: int) -> bytes:
    """Damage a file in one to four places, half of the time within its first ``head`` bytes."""
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        if not out:
            break
        end = min(len(out), head) if rng.random() < 0.5 else len(out)
        at = int(rng.integers(0, end))
        length = int(min(2 ** rng.integers(0, 9), len(out) - at))
        match int(rng.integers(0, 9)):
            case 0 | 1:
                out[at] ^= 1 << int(rng.integers(0, 8))
            case 2:
                out[at : at + length] = rng.integers(0, 256, length, dtype=np.uint8).tobytes()
            case 3:
                del out[at : at + length]
            case 4:
                out[at:at] = out[at : at + length]
            case 5:
                nasty = _NASTY[int(rng.integers(0, len(_NASTY)))]
                out[at : at + len(nasty)] = nasty
            case 6:
                out[at:at] = _NASTY[int(rng.integers(0, len(_NASTY)))]
            case 7:
                del out[at:]
            case 8:
                other = int(rng.integers(0, len(out)))
                out[at : at + length] = out[other : other + length]
    return bytes(out)


def mutations(data: bytes, count: int, *, seed: int, head: int = 1024) -> Iterator[bytes]:
    """Yield ``count`` damaged copies, times the scale that the environment asks for."""
    for number in range(count * SCALE):
        yield mutate(data, np.random.default_rng([seed, number]), head)


def memory_growth(run: Callable[[], object]) -> int:
    """Return by how many bytes the process's peak memory grew while ``run`` ran."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
