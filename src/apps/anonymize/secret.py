"""The passphrase: where it comes from, and what is derived from it. It is never shown and never written."""

from __future__ import annotations

import getpass
import os
import warnings
from pathlib import Path
from typing import Final

from torch import Tensor

from src.errors import UserError
from src.models.networks.password_transformer.password import Password

__all__ = ["SALT_BYTES", "Secret", "read_secret"]

SALT_BYTES: Final = 16
_KEY_BITS = 256


class Secret:
    """A passphrase and what was derived from it so far.

    Args:
        passphrase: As typed.
    """

    def __init__(self, passphrase: str) -> None:
        self._passphrase = passphrase
        self._passwords: dict[tuple[bytes, int], Password] = {}

    def bits(self, salt: bytes, length: int) -> Tensor:
        """The password that anonymises under a salt, bool [length]; see `Password.from_passphrase`."""
        return self._password(salt, length).bits()

    def key(self, salt: bytes) -> bytes:
        """A key for AES-256, by the same function."""
        return self._password(salt, _KEY_BITS).value.to_bytes(_KEY_BITS // 8)

    def misspelt(self, position: int) -> Secret:
        """The passphrase with another character at one place, counted from 0 and round its end."""
        place = position % len(self._passphrase)
        character = "x" if self._passphrase[place] != "x" else "y"
        return Secret(self._passphrase[:place] + character + self._passphrase[place + 1 :])

    def _password(self, salt: bytes, length: int) -> Password:
        if (salt, length) not in self._passwords:
            self._passwords[salt, length] = Password.from_passphrase(self._passphrase, salt, length)
        return self._passwords[salt, length]


def read_secret(password_file: Path | str | None, password_env: str | None, *, twice: bool) -> Secret:
    """Read the passphrase from a file or an environment variable, or else ask for it without echo.

    Args:
        password_file: File that holds it; a line break at its end is no part of it.
        password_env: Name of the variable.
        twice: Ask twice, for a mistyped one cannot be found out later.

    Raises:
        UserError: It was given in two ways or not at all, or it is empty.
    """
    if password_file is not None and password_env is not None:
        raise UserError("password_file and password_env: expected one of them, found both")
    if password_file is not None:
        source, passphrase = f"password_file={password_file}", _from_file(Path(password_file))
    elif password_env is not None:
        source, passphrase = f"password_env={password_env}", _from_environment(str(password_env))
    else:
        source, passphrase = "password", _from_terminal(twice)
    if not passphrase:
        raise UserError(f"{source}: the password is empty; choose one")
    try:
        passphrase.encode()
    except UnicodeEncodeError:
        raise UserError(f"{source}: the password is no UTF-8 text; choose another one") from None
    return Secret(passphrase)


def _from_file(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"password_file={path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError:
        raise UserError(f"password_file={path}: the password is no UTF-8 text; choose another one") from None
    return text.removesuffix("\n").removesuffix("\r")


def _from_environment(name: str) -> str:
    if name not in os.environ:
        raise UserError(f"password_env={name}: there is no such environment variable; export it, or name another one")
    return os.environ[name]


def _from_terminal(twice: bool) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", getpass.GetPassWarning)  # it would be shown while it is typed
            passphrase = getpass.getpass("Password: ")
            if twice and getpass.getpass("Once more: ") != passphrase:
                raise UserError("password: the two are not the same; nothing was done, start again")
    except (getpass.GetPassWarning, EOFError):
        raise UserError("password: there is no terminal to ask on; set password_file or password_env") from None
    return passphrase
