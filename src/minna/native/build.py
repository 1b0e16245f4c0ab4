"""Build a C++ file once for this CPU, keep the library, and load it with ctypes.

A plain C interface and ctypes instead of torch's extension machinery: a file builds in seconds,
since it includes one small header of torch and not all of them, and needs no ninja.
The libraries link against torch's own oneDNN (`brgemm`: matrix tiles where the CPU has AMX, AVX-512
BF16 where not) and run on torch's own OpenMP threads.

A library is found again by the hash of everything it depends on: source, headers, command,
compiler, torch and the CPU's instructions. A kill while building leaves no half library under that
name; two processes that build the same one wait for each other; one that is there needs no right to
write.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import torch
from filelock import FileLock

from minna.artifact.cache import cache_directory
from minna.console import warn

SWITCH = "MINNA_KERNELS"
_BUILD_SECONDS = 300
_FLAGS = (
    "-O3",
    "-march=native",
    "-std=c++20",
    "-fopenmp",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-shared",
    "-fPIC",
)


class _UnavailableError(Exception):
    """Why there is no kernel here, in words for the user."""


def switched_off() -> bool:
    """Whether the user wants torch's own kernels (MINNA_KERNELS=torch)."""
    return os.environ.get(SWITCH) == "torch"


def why_not() -> str | None:
    """Return why no kernel can be built on this machine (system, CPU, compiler), or None."""
    try:
        _compiler()
    except _UnavailableError as reason:
        return str(reason)
    return None


@functools.cache
def library(name: str, *, cost: str) -> ctypes.CDLL | None:
    """Return the library of `csrc/NAME.cpp`, built if need be, or None where that cannot be.

    Args:
        name: of the source file, without suffix.
        cost: what doing without costs, for the one line that is printed then ("training takes about
            1.3 times as long").
    """
    if switched_off():
        return None
    try:
        return _load(name)
    except _UnavailableError as reason:
        warn(f"no native kernels ({name}): {reason}; torch's own are used, and {cost}")
        return None


def _load(name: str) -> ctypes.CDLL:
    command = [_compiler(), *_FLAGS, *_torch_flags()]
    folder = cache_directory() / "native"
    target = folder / f"{name}-{_key(name, command)}.so"
    if (found := _open(target)) is not None:
        return found
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_suffix(".lock")):
            found = _open(target)  # another process may have built it meanwhile
            if found is None:
                _build(name, command, target)
                found = ctypes.CDLL(str(target))
            return found
    except OSError as error:
        raise _UnavailableError(f"{folder} cannot be used ({error})") from error


def _open(target: Path) -> ctypes.CDLL | None:
    """The library, or None where there is none or one cut short by a full disk or a crash."""
    try:
        return ctypes.CDLL(str(target)) if target.is_file() else None
    except OSError:
        return None


def _build(name: str, command: list[str], target: Path) -> None:
    half = target.with_name(f".{uuid.uuid4().hex}.so")
    with resources.as_file(resources.files("minna.native") / "csrc") as sources:
        source = sources / f"{name}.cpp"
        # libraries after the source: the linker looks for what is missing from left to right
        call = [*command, "-o", str(half), str(source), *_link_flags()]
        try:
            done = _run(call)
            if done.returncode:
                lines = [line for line in done.stderr.splitlines() if "error" in line.lower()]
                said = (lines or done.stderr.splitlines() or ["no message"])[0].strip()
                raise _UnavailableError(f"{command[0]} failed: {said}")
            half.replace(target)
        except subprocess.TimeoutExpired as error:
            raise _UnavailableError(f"{command[0]} took more than {_BUILD_SECONDS} s") from error
        finally:
            half.unlink(missing_ok=True)


@functools.cache
def _compiler() -> str:
    """The compiler to use; GCC, since another's OpenMP would be a second pool of threads."""
    machine = platform.machine().lower()
    if sys.platform != "linux" or machine not in ("x86_64", "amd64"):
        raise _UnavailableError(
            f"they are for Linux on x86-64, this is {sys.platform} on {machine}"
        )
    if "avx512f" not in _instructions().split():
        raise _UnavailableError("this CPU has no AVX-512")
    wanted = os.environ.get("CXX", "g++")
    found = shutil.which(wanted)
    if found is None:
        raise _UnavailableError(f"there is no C++ compiler {wanted} here (install g++, or set CXX)")
    if "Free Software Foundation" not in _ask(found, "--version"):
        raise _UnavailableError(f"{found} is not GCC (set CXX to a g++)")
    return found


def _ask(*command: str) -> str:
    try:
        done = _run(command)
        done.check_returncode()
    except (OSError, subprocess.SubprocessError) as error:
        raise _UnavailableError(f"{' '.join(command)} does not run: {error}") from error
    return done.stdout


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run the compiler, in English: its messages are searched for words."""
    return subprocess.run(  # noqa: S603 - the user's own compiler
        command,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        env={**os.environ, "LC_ALL": "C"},
        check=False,
        timeout=_BUILD_SECONDS,
    )


def _torch_flags() -> list[str]:
    return [f"-I{Path(torch.__file__).parent / 'include'}"]


def _link_flags() -> list[str]:
    return [f"-L{Path(torch.__file__).parent / 'lib'}", "-ltorch_cpu", "-lc10"]


def _key(name: str, command: list[str]) -> str:
    total = hashlib.sha256()
    sources = resources.files("minna.native") / "csrc"
    wanted = [s for s in sources.iterdir() if s.name == f"{name}.cpp" or s.name.endswith(".h")]
    for source in sorted(wanted, key=lambda s: s.name):
        total.update(source.name.encode() + b"\0" + source.read_bytes())
    for fact in (*command, _ask(command[0], "--version"), torch.__version__, _instructions()):
        total.update(fact.encode() + b"\0")
    return total.hexdigest()[:24]


def _instructions() -> str:
    """What this CPU can do: a home directory may be shared by machines of several kinds."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    flags = re.search(r"^flags\s*:\s*(.*)$", text, flags=re.MULTILINE)
    return flags.group(1) if flags else ""
