"""When one process of a run dies, the others end at once and say which one it was.

Without that they wait for it in their next exchange until that times out, half an hour or more.

Every process holds a connection to the first one (rank 0) and says over it how it ends. The kernel closes that of a
process that dies without a word, however it dies, and answers for one that is busy: no evaluation, drawing or writing
of a checkpoint, however long, can be taken for death, as it could be with a heartbeat that a thread sends.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.util import Finalize
from pathlib import Path
from threading import Lock, Thread
from typing import NamedTuple

import lightning as L
from torch import distributed

from src.errors import UserError

__all__ = ["RankWatch", "follow_launcher"]

log = logging.getLogger(__name__)

DONE = "done"
_TOKEN, _RANK = 16, 4
"""Bytes of a greeting: the secret of the run, and who greets."""
_CONNECTING = 20.0
"""Seconds."""
_LAST_WORDS = 10.0
"""Seconds in which a process that fails prints why and ends."""
_GRACE = 30.0
"""Seconds in which the others end after rank 0 has."""


class _Identity(NamedTuple):
    """Of one process, as all of them know it; only rank 0 has a port and a token."""

    rank: int
    host: str
    pid: int
    port: int
    token: bytes

    def __str__(self) -> str:
        return f"rank {self.rank} on {self.host} (process {self.pid})"


class RankWatch(L.Callback):
    """Ends this process when another one of the run has died, failed, or lost its host.

    It prints which one, how it ended where that is known, and the checkpoint to continue from; the exit status is 1. A
    process that hangs but lives is not noticed: exchanges that wait for it fail after ``trainer.strategy.timeout``.

    Args:
        silence: Seconds after which a host that does not answer any more counts as lost.

    Raises:
        UserError: Less than 4 seconds.
    """

    def __init__(self, silence: float = 20.0) -> None:
        if silence < 4:
            raise UserError(f"callbacks.rank_watch.silence={silence}: expected at least 4 seconds")
        self._silence = silence
        self._watch: _Watch | None = None

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Connect the processes; they stay so from their first evaluation or training to the end of the run."""
        if trainer.world_size > 1 and self._watch is None:
            self._watch = _Watch(trainer, self._silence)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Tell the others why this process ends; where it is told to end, so are they."""
        if self._watch is not None:
            name = type(exception).__name__
            failed = isinstance(exception, Exception)
            self._watch.leave(f"{self._watch.me} failed: {name}: {exception}" if failed else DONE)


class _Watch:
    """The connections of one process: rank 0 has one with every other, and they one with rank 0."""

    def __init__(self, trainer: L.Trainer, silence: float) -> None:
        self._silence = silence
        self._checkpoint = Path(trainer.default_root_dir) / "checkpoints" / "last.ckpt"
        self._children: list[subprocess.Popen] = getattr(trainer.strategy.launcher, "procs", [])
        self._connections: list[socket.socket] = []
        self._lock, self._leaving = Lock(), False
        server = _listen(local=trainer.num_nodes == 1) if trainer.is_global_zero else None
        port, token = (server.getsockname()[1], secrets.token_bytes(_TOKEN)) if server else (0, b"")
        self.me = _Identity(trainer.global_rank, socket.gethostname(), os.getpid(), port, token)
        everybody: list[_Identity] = [self.me] * trainer.world_size
        distributed.all_gather_object(everybody, self.me)
        if server is not None:
            _start(lambda: self._accept(server, everybody))
        else:
            environment = trainer.strategy.cluster_environment  # type: ignore[attr-defined]
            self._connect("127.0.0.1" if trainer.num_nodes == 1 else environment.main_address, everybody[0])
        Finalize(None, lambda: self.leave(DONE), exitpriority=100)  # also where no atexit function is called
        os.register_at_fork(after_in_child=self._close)  # or a worker that outlives this process would keep them open

    def leave(self, words: str) -> None:
        """Say how this process ends, and judge no others any more."""
        with self._lock:
            if not self._leaving:
                self._leaving = True
                self._tell(words)

    def _connect(self, address: str, first: _Identity) -> None:
        try:
            connection = socket.create_connection((address, first.port), timeout=_CONNECTING)
            connection.sendall(first.token + self.me.rank.to_bytes(_RANK))
        except OSError as error:
            log.warning("%s cannot reach %s and would not notice its death: %s", self.me, first, error)
            return
        self._connections.append(connection)
        _start(lambda: self._follow(connection, first))

    def _accept(self, server: socket.socket, everybody: list[_Identity]) -> None:
        while True:
            connection, _ = server.accept()
            _start(lambda connection=connection: self._greet(connection, everybody))  # type: ignore[misc]

    def _greet(self, connection: socket.socket, everybody: list[_Identity]) -> None:
        connection.settimeout(_CONNECTING)
        with suppress(OSError):
            greeting = connection.recv(_TOKEN + _RANK, socket.MSG_WAITALL)
            token, rank = greeting[:_TOKEN], int.from_bytes(greeting[_TOKEN:])
            if secrets.compare_digest(token, self.me.token) and rank < len(everybody):
                self._connections.append(connection)
                self._follow(connection, everybody[rank])
                return
        connection.close()

    def _follow(self, connection: socket.socket, other: _Identity) -> None:
        """Wait until another process has ended, and end this one unless that was in order."""
        words, is_lost = _read_to_end(connection, self._silence)
        if words == DONE:
            if other.rank != 0:
                return
            time.sleep(_GRACE)
            words = f"{other} has ended, and {self.me} still waited for it"
        self._end(words or self._post_mortem(other, is_lost))

    def _post_mortem(self, other: _Identity, is_lost: bool) -> str:
        if is_lost:
            return f"{other} has not answered for {self._silence:g} seconds: its host is down or cannot be reached"
        code = None
        if 0 < other.rank <= len(self._children):  # its own launcher is in this process
            with suppress(subprocess.TimeoutExpired):
                code = self._children[other.rank - 1].wait(timeout=2)
        if code is None:
            return f"{other} has died"
        return f"{other} was killed by {_signal(-code)}" if code < 0 else f"{other} has ended with exit status {code}"

    def _end(self, words: str) -> None:
        with self._lock:
            if self._leaving:
                return
            self._leaving = True
            self._tell(words)
        is_there = self._checkpoint.exists()
        way_on = f"\nLast checkpoint: {self._checkpoint}. Continue with ckpt_path=last" if is_there else ""
        _exit(f"{words}; the other processes end, too{way_on}", self._children)

    def _tell(self, words: str) -> None:
        for connection in list(self._connections):
            with suppress(OSError):
                connection.sendall(words.encode())

    def _close(self) -> None:
        for connection in self._connections:
            connection.close()


def follow_launcher() -> None:
    """In a process that Lightning's launcher started, end when the process that it started from has.

    It covers the time before the processes are connected, in which Lightning's launcher sees to the other direction.
    """
    rank = os.environ.get("LOCAL_RANK")
    if f"hydra.job.name=train_ddp_process_{rank}" in sys.argv:
        launcher = os.getppid()
        _start(lambda: _wait_for_orphanage(launcher, f"local rank {rank} on {socket.gethostname()}"))


def _wait_for_orphanage(launcher: int, name: str) -> None:
    while os.getppid() == launcher:
        time.sleep(1)
    time.sleep(_GRACE)
    _exit(f"process {launcher}, which started {name}, has ended; this one ends, too", [])


def _listen(*, local: bool) -> socket.socket:
    """A socket that takes connections, of this machine alone where all processes are on it."""
    if not local and socket.has_dualstack_ipv6():
        return socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024)
    return socket.create_server(("127.0.0.1" if local else "", 0), backlog=1024)


def _read_to_end(connection: socket.socket, silence: float) -> tuple[str, bool]:
    """What another process says before it ends, and whether its host does not answer any more."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", silence / 4), ("TCP_KEEPINTVL", silence / 4), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), int(value))
    connection.settimeout(None)
    words = b""
    try:
        while part := connection.recv(4096):
            words += part
            connection.settimeout(_LAST_WORDS)
    except TimeoutError:
        return words.decode(errors="replace"), True
    except OSError:
        pass
    return words.decode(errors="replace"), False


def _signal(number: int) -> str:
    names = {member.value: f" ({member.name})" for member in signal.Signals}
    return f"signal {number}{names.get(number, '')}"


def _start(target: Callable[[], None]) -> None:
    Thread(target=target, daemon=True, name="rank-watch").start()


def _exit(message: str, children: list[subprocess.Popen]) -> None:
    """Print the message and leave: the main thread may be in an exchange that nothing interrupts."""
    log.error("%s", message)
    for child in children:
        try:
            child.wait(timeout=2)
        except subprocess.TimeoutExpired:
            child.kill()
    os._exit(1)
