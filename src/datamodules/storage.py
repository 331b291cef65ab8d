"""Files wherever they lie: on the disk, behind an fsspec URL, or at the end of a shell command."""

from __future__ import annotations

import hashlib
import io
import os
import shlex
import shutil
import subprocess
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

from braceexpand import braceexpand
from rich.console import Console
from rich.progress import track

from src.errors import UserError
from src.files import atomic_write

__all__ = ["Location", "RangeReader", "expand"]

_PIPE, _LOCAL, _SCHEME = "pipe:", "file://", "://"
_CHUNK = 8 << 20


@dataclass(frozen=True)
class Location:
    """A file or a folder: a local path, an fsspec URL (`s3://bucket/faces`), or `pipe:COMMAND`.

    A pipe is a shell command that writes the file's bytes to its standard output, or reads them from its standard
    input. `{name}` in it stands for a file's name: `pipe:ssh host cat faces/{name}`.

    All that fails raises `UserError` with the location in the message and the first cause as `__cause__`.

    Args:
        url: The path, URL or pipe.
    """

    url: str | Path

    def __str__(self) -> str:
        return str(self.url)

    def __truediv__(self, name: str) -> Location:
        """A file below this folder; for a pipe, the command with `{name}` replaced by the quoted name."""
        url = str(self)
        if not self.is_pipe:
            return Location(f"{url.rstrip('/')}/{name}")
        if "{name}" not in url:
            raise UserError(f"{url}: stands for one file only; expected {{name}} in it, as in pipe:cat DIR/{{name}}")
        return Location(url.replace("{name}", shlex.quote(name)))

    @property
    def is_pipe(self) -> bool:
        """Whether this is a shell command."""
        return str(self).startswith(_PIPE)

    @property
    def is_local(self) -> bool:
        """Whether this is a path on this machine."""
        url = str(self)
        return url.startswith(_LOCAL) or not (self.is_pipe or _SCHEME in url)

    @property
    def path(self) -> Path:
        """The path of a local file or folder."""
        assert self.is_local, self
        return Path(str(self).removeprefix(_LOCAL))

    @property
    def name(self) -> str:
        """What follows the last slash."""
        return str(self).rstrip("/").rpartition("/")[2]

    def exists(self) -> bool:
        """Whether there is such a file or folder; a pipe cannot be asked, so its answer is no."""
        if self.is_pipe:
            return False
        with self._explain("be looked up"):
            if self.is_local:
                return self.path.exists()
            filesystem, path = self._remote()
            return bool(filesystem.exists(path))

    def files(self) -> list[str]:
        """Names of all files below this folder, relative to it with `/`, sorted; hidden files and folders left out.

        Raises:
            UserError: No such folder, or a pipe. Of many remote stores a missing folder is an empty one.
        """
        if self.is_pipe:
            raise UserError(f"{self}: a command cannot be listed; give a folder or a URL")
        with self._explain("be listed"):
            return sorted(self._walk() if self.is_local else self._find())

    def _walk(self) -> Iterator[str]:
        root = self.path
        if not root.is_dir():
            raise UserError(f"{self}: no such folder; give the path of a folder that exists")
        walk = os.walk(root, onerror=_fail_to_list, followlinks=True)
        # The number of folders is not known before the end: the bar only shows that something is going on.
        for folder, folders, names in track(
            walk, f"listing {self.name}", total=None, transient=True, console=Console(stderr=True)
        ):
            folders[:] = [name for name in folders if not name.startswith(".")]
            prefix = "" if (below := os.path.relpath(folder, root)) == "." else f"{below}/"
            yield from (prefix + name for name in names if not name.startswith("."))

    def _find(self) -> Iterator[str]:
        filesystem, root = self._remote()
        prefix = f"{root.rstrip('/')}/"
        try:
            found = filesystem.find(root)
        except FileNotFoundError:
            return
        for path in found:
            name = path.removeprefix(prefix)
            if not name.startswith(".") and "/." not in name:
                yield name

    def read_bytes(self) -> bytes:
        """The whole content of a file."""
        if self.is_pipe:
            return self._run(stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        with self._explain("be read"):
            if self.is_local:
                return self.path.read_bytes()
            filesystem, path = self._remote()
            return filesystem.cat_file(path)

    def open(self) -> RangeReader:
        """Open a file for reading by position; a pipe is run once, into a temporary file."""
        return RangeReader(self)

    def sha256(self) -> str:
        """Hex digest of a file's content."""
        digest = hashlib.sha256()
        with self.open() as reader:
            for offset in range(0, reader.size, _CHUNK):
                digest.update(reader.read(offset, _CHUNK))
        return digest.hexdigest()

    def upload(self, local: Path) -> None:
        """Copy a local file to here, whole or not at all: under a temporary name first, then renamed.

        A pipe gets it on its standard input, and must see to the wholeness itself.

        Args:
            local: The file; it stays.
        """
        with self._explain("be written"), open(local, "rb") as file:
            if self.is_pipe:
                self._run(stdin=file, stdout=subprocess.DEVNULL)
            elif self.is_local:
                with atomic_write(self.path) as copy:
                    shutil.copyfileobj(file, copy, _CHUNK)
            else:
                self._put(local)

    def _put(self, local: Path) -> None:
        filesystem, path = self._remote()
        folder, _, name = path.rpartition("/")
        temporary = f"{folder}/.{name}.tmp"
        filesystem.makedirs(folder, exist_ok=True)
        try:
            filesystem.put_file(str(local), temporary)
            filesystem.mv(temporary, path)
        except BaseException:
            with suppress(Exception):  # the first error is the one to report
                filesystem.rm_file(temporary)
            raise

    def remove(self) -> None:
        """Delete a file."""
        if self.is_pipe:
            raise UserError(f"{self}: what a command wrote cannot be removed; remove it by hand")
        with self._explain("be removed"):
            if self.is_local:
                self.path.unlink()
            else:
                filesystem, path = self._remote()
                filesystem.rm_file(path)

    def _remote(self) -> tuple[Any, str]:
        """File system and path in it. Not kept: fsspec's are cached per process, and do not survive a fork."""
        # Imported here because local files must not pay for it.
        from fsspec.core import url_to_fs

        return url_to_fs(str(self))

    def _run(self, stdin: IO[bytes] | int, stdout: IO[bytes] | int) -> bytes:
        command = str(self).removeprefix(_PIPE)
        done = subprocess.run(command, shell=True, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, check=False)
        if done.returncode:
            last = (done.stderr.decode(errors="replace").strip().splitlines() or ["it says nothing"])[-1]
            raise UserError(f"{self}: the command failed with status {done.returncode}: {last}")
        return done.stdout

    @contextmanager
    def _explain(self, action: str) -> Iterator[None]:
        """Turn what goes wrong within the block into a `UserError`."""
        try:
            yield
        except UserError:
            raise
        except ImportError as error:
            raise UserError(f"{self}: such URLs need a package that is not installed: {error}") from error
        except OSError as error:
            raise UserError(f"{self}: cannot {action} ({error.strerror or error!r})") from error
        except Exception as error:
            if self.is_local:
                raise
            # Every remote file system has errors of its own.
            raise UserError(f"{self}: cannot {action} ({error!r})") from error


class RangeReader:
    """Reads a file by position.

    Any number of threads and forked processes may share one; a pickled one opens its file anew, and runs its pipe
    again.

    Args:
        location: The file.

    Raises:
        UserError: It cannot be opened, or the pipe fails.
    """

    def __init__(self, location: Location) -> None:
        self.location = location
        self._descriptor: int | None = None
        with location._explain("be opened"):
            if not location.is_local and not location.is_pipe:
                filesystem, path = location._remote()
                self.size = int(filesystem.size(path))
                return
            self._descriptor = os.open(location.path, os.O_RDONLY) if location.is_local else _spool(location)
            self._close = weakref.finalize(self, os.close, self._descriptor)
            self.size = os.fstat(self._descriptor).st_size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[type[RangeReader], tuple[Location]]:
        return RangeReader, (self.location,)

    def close(self) -> None:
        """Close the file, which otherwise happens when the last reference to the reader goes."""
        if self._descriptor is not None:
            self._close()
            self._descriptor = -1  # the number will be another file's

    def stream(self) -> io.BufferedReader:
        """The file as Python's file objects are, for libraries that want one; closing it leaves the reader open."""
        return io.BufferedReader(_Stream(self), _CHUNK)

    def read(self, offset: int, size: int) -> bytes:
        """Read `size` bytes from `offset` on; fewer where the file ends."""
        if self._descriptor is None:
            return self._read_remote(offset, size)
        try:
            return os.pread(self._descriptor, size, offset)
        except OSError as error:
            raise UserError(f"{self.location}: cannot be read ({error.strerror})") from error

    def _read_remote(self, offset: int, size: int) -> bytes:
        end = min(offset + size, self.size)
        if offset >= end:
            return b""
        with self.location._explain("be read"):
            filesystem, path = self.location._remote()
            return filesystem.cat_file(path, start=offset, end=end)


class _Stream(io.RawIOBase):
    """A reader as a file that is read from front to back."""

    def __init__(self, reader: RangeReader) -> None:
        self.reader = reader
        self.position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.reader.size}[whence]
        return self.position

    def readinto(self, buffer: Any) -> int:
        content = self.reader.read(self.position, len(buffer))
        buffer[: len(content)] = content
        self.position += len(content)
        return len(content)


def _fail_to_list(error: OSError) -> None:
    raise UserError(f"{error.filename}: cannot be listed ({error.strerror})") from error


def _spool(pipe: Location) -> int:
    """Run a pipe into a nameless temporary file and return its descriptor."""
    with tempfile.TemporaryFile() as file:
        pipe._run(stdin=subprocess.DEVNULL, stdout=file)
        return os.dup(file.fileno())


def expand(url: str) -> list[Location]:
    """Expand the braces of a path, URL or pipe: `train-{000000..000009}.tar`, `{a,b}.tar`; `{name}` stays.

    Raises:
        UserError: A brace is not closed.
    """
    try:
        return [Location(part) for part in braceexpand(url, escape=False)]
    except ValueError as error:
        raise UserError(f"{url}: {error}; close every brace, as in train-{{000000..000009}}.tar") from error
