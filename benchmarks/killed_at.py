"""Runs a script that is killed at its n-th operation on files below a folder, whatever library makes it.

    python benchmarks/killed_at.py N FOLDER TRACE SCRIPT [ARGUMENT ...]

N = 0: never. TRACE: file into which each operation is written ("" for none): number, name, path, bytes.

Operations are the system calls of `CALLS`: a file opened for writing or made, written, cut, flushed to the disk; a name
made, changed or removed (but not where that changes nothing, as mkdir of a folder that is there). The kernel stops the
process at each and asks a helper (seccomp's user notification), so that none is missed: safetensors renames by a system
call of its own, past libc, where LD_PRELOAD does not see it. The process is killed (SIGKILL) before the n-th is done; a
write of more than one byte is done to its half first. Children of the process are not counted. What a program writes
into memory that is mapped to a file is no system call.
"""

import ctypes
import fcntl
import os
import platform
import runpy
import select
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# name: (number on x86_64, on aarch64, argument with an open folder, argument with the name); a call without a name is
# of the open file. Of two names it is the new one.
CALLS = {
    "open": (2, None, None, 0), "openat": (257, 56, 0, 1), "openat2": (437, 437, 0, 1), "creat": (85, None, None, 0),
    "write": (1, 64, 0, None), "writev": (20, 66, 0, None), "pwrite64": (18, 68, 0, None),
    "pwritev": (296, 70, 0, None), "pwritev2": (328, 287, 0, None), "sendfile": (40, 71, 0, None),
    "copy_file_range": (326, 285, 2, None), "truncate": (76, 45, None, 0), "ftruncate": (77, 46, 0, None),
    "fsync": (74, 82, 0, None), "fdatasync": (75, 83, 0, None), "rename": (82, None, None, 1),
    "renameat": (264, 38, 2, 3), "renameat2": (316, 276, 2, 3), "unlink": (87, None, None, 0),
    "unlinkat": (263, 35, 0, 1), "rmdir": (84, None, None, 0), "mkdir": (83, None, None, 0),
    "mkdirat": (258, 34, 0, 1), "link": (86, None, None, 1), "linkat": (265, 37, 2, 3),
    "symlink": (88, None, None, 1), "symlinkat": (266, 36, 1, 2),
}  # fmt: skip
FLAGS = {"open": 1, "openat": 2}  # their argument: what is opened for reading alone is not stopped
MACHINES = {"x86_64": (0, 0xC000003E, 317), "aarch64": (1, 0xC00000B7, 277)}  # column, AUDIT_ARCH, seccomp's number
NEEDS = {"mkdir", "mkdirat", "unlink", "unlinkat", "rmdir"}  # a name that is not there, or is: else nothing happens
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
ALLOW, NOTIFY, CONTINUE = 0x7FFF0000, 0x7FC00000, 1
RECEIVE, SEND = 0xC0502100, 0xC0182101  # ioctls of a listener
LIBC = ctypes.CDLL(None, use_errno=True)


class NotCounted(RuntimeError):
    """This system does not let a process watch another's calls."""


def require() -> None:
    """Raise NotCounted where operations cannot be counted."""
    why = "that takes Linux on x86_64 or aarch64"
    if sys.platform == "linux" and platform.machine() in MACHINES:
        try:
            _call(MACHINES[platform.machine()][2], 2, 0, ctypes.byref(ctypes.c_uint32(NOTIFY)))
            return
        except OSError as error:
            why = f"the system has no user notification of seccomp ({error.strerror})"
    raise NotCounted(f"operations on files cannot be counted here: {why}")


def kill_at(n: int, folder: str, trace: str = "") -> None:
    """Have this process's operations below a folder counted from now on, and it killed at the n-th (0: never).

    Raises
    ------
    NotCounted
        Where the system does not allow it.
    """
    require()
    run, (ours, helpers) = os.getpid(), socket.socketpair()
    helper = os.fork()
    if not helper:
        try:
            ours.close()
            _, (listener, *_), _, _ = socket.recv_fds(helpers, 1, 1)
            _Watch(run, n, folder, trace).answer(listener)
        except BaseException:
            traceback.print_exc()  # the run's calls fail from now on
        finally:
            os._exit(0)
    helpers.close()
    _call("prctl", 0x59616D61, helper, 0, 0, 0)  # PR_SET_PTRACER: Ubuntu lets no child read its parent's memory
    _call("prctl", 38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS: what a filter takes of a process without privileges
    listener = _listener()
    socket.send_fds(ours, [b"."], [listener])
    os.close(listener)
    ours.close()


def _call(name: str | int, *arguments) -> int:
    """A function of libc, or a system call by its number; OSError where it fails."""
    given = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    done = LIBC.syscall(ctypes.c_long(name), *given) if isinstance(name, int) else getattr(LIBC, name)(*given)
    if done < 0 and not (name == "prctl" and arguments[0] == 0x59616D61):  # without Yama nothing has to be allowed
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return done


def _listener() -> int:
    """Have this process, and what it starts, stopped at each of `CALLS`; -> the file that tells of it."""
    column, machine, seccomp = MACHINES[platform.machine()]
    load, equal, any_bit, give = 0x20, 0x15, 0x45, 0x06  # BPF: ld [k]; jeq k; jset k; ret k
    lines = [(load, 0, 0, 4), (equal, 1, 0, machine), (give, 0, 0, ALLOW), (load, 0, 0, 0)]
    for name, call in CALLS.items():
        if (number := call[column]) is None:
            continue
        if name in FLAGS:
            lines += [(equal, 0, 4, number), (load, 0, 0, 16 + 8 * FLAGS[name]), (any_bit, 0, 1, WRITES)]
            lines += [(give, 0, 0, NOTIFY), (give, 0, 0, ALLOW)]
        else:
            lines += [(equal, 0, 1, number), (give, 0, 0, NOTIFY)]
    lines.append((give, 0, 0, ALLOW))
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in lines))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(lines), ctypes.addressof(code)))
    return _call(seccomp, 1, 1 << 3, program)  # SECCOMP_SET_MODE_FILTER, with a listener


class _Watch:
    """The helper: is asked about each call of the run, counts it, and lets it go on or kills the run."""

    def __init__(self, run: int, n: int, folder: str, trace: str):
        self.run, self.n, self.done = run, n, 0
        self.folders = {os.path.abspath(folder), os.path.realpath(folder)}
        self.trace = open(trace, "a", encoding="utf-8", buffering=1) if trace else None
        self.memory, self.pidfd = os.open(f"/proc/{run}/mem", os.O_RDONLY), os.pidfd_open(run)
        self.processes: dict[int, bool] = {}  # thread: whether it is one of the run's own
        column = MACHINES[platform.machine()][0]
        self.calls = {call[column]: (name, *call[2:]) for name, call in CALLS.items()}

    def answer(self, listener: int) -> None:
        """Until the run, and all it has started, have ended."""
        events = select.poll()
        events.register(listener, select.POLLIN)
        while events.poll()[0][1] & select.POLLIN:
            asked = bytearray(80)
            try:
                fcntl.ioctl(listener, RECEIVE, asked)
                ID, thread, _, number, _, _, *arguments = struct.unpack("QIIiIQ6Q", asked)
                self.see(thread, number, arguments)
                fcntl.ioctl(listener, SEND, bytearray(struct.pack("QqiI", ID, 0, 0, CONTINUE)))
            except (FileNotFoundError, ProcessLookupError):  # it was killed meanwhile
                continue

    def see(self, thread: int, number: int, arguments: list[int]) -> None:
        if thread not in self.processes:
            self.processes[thread] = os.path.exists(f"/proc/{self.run}/task/{thread}")
        if not self.processes[thread]:
            return
        name, at, named = self.calls[number]
        path = self.path(None if at is None else arguments[at], None if named is None else arguments[named])
        below = next((path[len(f) + 1 :] or "." for f in self.folders if f"{path}/".startswith(f"{f}/")), None)
        if below is None or name == "openat2" and not self.word(arguments[2]) & WRITES:
            return
        if name.startswith("mkdir") == os.path.lexists(path) and name in NEEDS:
            return
        self.done += 1
        size = sum(length for _, length in self.parts(name, arguments))
        if self.trace:
            self.trace.write(f"{self.done}\t{name}\t{below}\t{size}\n")
        if self.done == self.n:
            if size > 1:
                self.write_half(name, arguments, size // 2)
            os.kill(self.run, signal.SIGKILL)
            select.select([self.pidfd], [], [])  # an answer before its end would let the call be done

    # ---- what a call is given ----

    def path(self, at: int | None, named: int | None) -> str:
        """Path of the name at an address in the run's memory, in an open folder; without a name, of an open file."""
        name = b"" if named is None else self.text(named)
        if name.startswith(b"/"):
            return os.path.normpath(os.fsdecode(name))
        here = at is None or ctypes.c_int(at).value == -100  # AT_FDCWD
        link = f"/proc/{self.run}/" + ("cwd" if here else f"fd/{ctypes.c_int(at).value}")
        try:
            return os.path.normpath(os.path.join(os.readlink(link), os.fsdecode(name)))
        except OSError:  # not open: the call will fail
            return ""

    def text(self, address: int) -> bytes:
        found = b""
        while b"\0" not in found:
            more = 4096 - (address + len(found)) % 4096  # to the end of a page: the next may not be there
            found += os.pread(self.memory, more, address + len(found))
        return found.split(b"\0")[0]

    def word(self, address: int) -> int:
        return int.from_bytes(os.pread(self.memory, 8, address), "little")

    def parts(self, name: str, arguments: list[int]) -> Iterator[tuple[int, int]]:
        """(address, length) of each part of what is written; of a copy between files the address is 0."""
        if name in ("write", "pwrite64"):
            yield arguments[1], arguments[2]
        elif "writev" in name:
            for i in range(arguments[2]):
                yield self.word(arguments[1] + 16 * i), self.word(arguments[1] + 16 * i + 8)
        elif name in ("sendfile", "copy_file_range"):
            number, start = self.source(name, arguments)
            yield 0, max(0, min(arguments[3 if name == "sendfile" else 4], os.stat(self.link(number)).st_size - start))

    def source(self, name: str, arguments: list[int]) -> tuple[int, int]:
        """The open file that is copied from, and where from."""
        number, place = (arguments[1], arguments[2]) if name == "sendfile" else (arguments[0], arguments[1])
        return number, self.word(place) if place else self.position(number)

    def link(self, number: int) -> str:
        """By which the run's open file can be opened here; its position has to be asked for."""
        return f"/proc/{self.run}/fd/{number}"

    def position(self, number: int) -> int:
        """Where the run's open file is written or read next."""
        said = Path(f"/proc/{self.run}/fdinfo/{number}").read_text()
        about = dict(line.split(":\t", 1) for line in said.splitlines() if ":\t" in line)
        return os.stat(self.link(number)).st_size if int(about["flags"], 8) & os.O_APPEND else int(about["pos"])

    def write_half(self, name: str, arguments: list[int], half: int) -> None:
        """Do half of a write in place of the run."""
        if name in ("sendfile", "copy_file_range"):
            number, start = self.source(name, arguments)
            with open(self.link(number), "rb") as source:
                data = os.pread(source.fileno(), half, start)
        else:
            data = b"".join(os.pread(self.memory, length, place) for place, length in self.parts(name, arguments))
        to = arguments[CALLS[name][2]]
        place = arguments[3] if name.startswith("pwrite") else self.position(to)
        with open(os.open(self.link(to), os.O_WRONLY), "wb") as file:
            os.pwrite(file.fileno(), data[:half], place)


@dataclass(frozen=True)
class Operation:
    """One operation of a trace: `path` below the folder, `bytes` that it writes."""

    number: int
    name: str
    path: str
    bytes: int


def read(trace: Path) -> list[Operation]:
    """The operations of a trace, in their order."""
    rows = (line.split("\t") for line in trace.read_text(encoding="utf-8").splitlines())
    return [Operation(int(number), name, path, int(size)) for number, name, path, size in rows]


if __name__ == "__main__":
    at, place, told = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    sys.argv = sys.argv[4:]
    if at or told:
        kill_at(at, place, told)
    runpy.run_path(sys.argv[0], run_name="__main__")
