"""What is left of some files when the power fails."""

from __future__ import annotations

import os
import random
from pathlib import Path


class Disk:
    """Knows what of some folders is on the disk, by watching `os.fsync`, and can lose the rest.

    Args:
        folders: All that is in them is on the disk now.
    """

    def __init__(self, folders: list[Path]) -> None:
        self._fsync = os.fsync
        self._folders = folders
        self._held: dict[int, int] = {}  # open descriptors, so that no number of a file is given to another
        self._content: dict[int, bytes] = {}
        self._names = {folder: self._now(folder) for folder in folders}
        for folder in folders:
            for path in folder.iterdir():
                self._content[path.stat().st_ino] = path.read_bytes()
        os.fsync = self.fsync

    def fsync(self, descriptor: int) -> None:
        """As `os.fsync`."""
        self._fsync(descriptor)
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        if path.is_dir():
            self._names[path] = self._now(path)
        else:
            self._content[path.stat().st_ino] = path.read_bytes()

    def lose_power(self) -> None:
        """Each name and each content that is not on the disk is there or is not, or a part of the content is."""
        for folder in self._folders:
            before, now = self._names[folder], self._now(folder)
            kept = {name: random.choice([before, now]).get(name) for name in before | now}
            content = {inode: self._survivor(inode) for inode in kept.values() if inode is not None}
            for path in folder.iterdir():
                path.unlink()
            for name, inode in kept.items():
                if inode is not None:
                    (folder / name).write_bytes(content[inode])
                    (folder / name).chmod(os.fstat(self._held[inode]).st_mode)

    def _survivor(self, inode: int) -> bytes:
        now = os.pread(self._held[inode], 1 << 30, 0)
        synced = self._content.get(inode, b"")
        return now if now == synced else random.choice([synced, now, now[: random.randint(0, len(now))]])

    def _now(self, folder: Path) -> dict[str, int]:
        names = {}
        for path in folder.iterdir():
            inode = names[path.name] = path.stat().st_ino
            if inode not in self._held:
                self._held[inode] = os.open(path, os.O_RDONLY)
        return names
