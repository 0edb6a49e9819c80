"""The environment and `.env` as settings: every variable is read here, and all faults are told in one message."""

import os
from collections.abc import Callable, Collection
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from django.core.exceptions import ImproperlyConfigured

from workspace.dotenv import EARLY, INVISIBLE, Contents, read_file

Value = TypeVar("Value")
# How alike two names must be for one to be a misspelling: ALLOWED_HOST is, TEST_DATABASE_URL is not.
ALIKE = 0.85


class Variables:
    """Reads variables and collects what is wrong with them until `finish` is called.

    Args:
        default_file: the file to read unless ENV_FILE names another.

    Effects: puts the file's variables into the environment, where those that are set already win.
    """

    def __init__(self, default_file: Path) -> None:
        self.names = {"ENV_FILE"}
        self.faults: list[str] = []
        self.file = Path(os.environ.get("ENV_FILE") or default_file)
        self.is_file_read = True
        self.contents = self._read_file()
        for name, value in self.contents.values.items():
            os.environ.setdefault(name, value)

    def read(self, name: str, parse: Callable[[str], Value], default: str | None, *, hint: str = "") -> Value:
        """The value of a variable.

        Args:
            parse: converts the text without the blanks around it. Raises ValueError with the rest of a sentence that
                begins with the name and contains no part of the value.
            default: the text that an unset variable has; None if it must be set and must not be empty.
            hint: a sentence that says what to set.

        Returns the parsed default after a fault, or an empty text if there is none that works; `finish` then raises.
        """
        self.names.add(name)
        value = os.environ.get(name, default or "")
        try:
            check_text(value)
            if value.strip() or default is not None:
                return parse(value.strip())
            if not self._is_unread(name):
                self.fault(name, f"is not set. {hint}")
        except ValueError as error:
            self.fault(name, str(error))
        except ImproperlyConfigured as error:
            self.faults.append(str(error))
        except OSError as error:  # of a file that the value names
            self.fault(name, f"names a file that cannot be used ({error.strerror}).")
        with suppress(ValueError, ImproperlyConfigured, OSError):  # the default may be what has just failed
            if default is not None:
                return parse(default)
        unusable: Any = ""
        return unusable

    def read_secret(self, name: str, parse: Callable[[str], str], default: str | None, *, hint: str = "") -> str:
        """As `read`, for a text in which blanks at the ends would count."""
        value = os.environ.get(name, "")
        if value.strip() and value != value.strip():
            self.fault(name, "begins or ends with a blank or a line end. Remove it.")
        return self.read(name, parse, default, hint=hint)

    def fault(self, name: str, what: str) -> None:
        self.faults.append(f"{name} {what}")

    def finish(self) -> None:
        """Raise ImproperlyConfigured with all faults, sorted, one a line, if there are any."""
        shown = self.names | EARLY
        in_file = [
            f"{self.file.name}, line {one.number}{f' ({one.word})' if one.word in shown else ''} {one.what}"
            for one in self.contents.faults
        ]
        misspelled = misspellings(self.names)
        # The environment belongs to others as well, but the file is ours alone.
        if in_file or self.faults or misspelled.keys() & self.contents.values.keys():
            faults = in_file + sorted(self.faults + [f"{name} {what}" for name, what in misspelled.items()])
            raise ImproperlyConfigured("\n".join(faults))

    def _read_file(self) -> Contents:
        try:
            return read_file(self.file)
        except FileNotFoundError:
            if os.environ.get("ENV_FILE"):
                self.fault("ENV_FILE", "names a file that does not exist.")
        except ValueError as error:
            self.is_file_read = False
            self.fault(self.file.name, str(error))
        return Contents()

    def _is_unread(self, name: str) -> bool:
        """Whether the file may set it, in a line that cannot be read."""
        return not self.is_file_read or any(one.word == name for one in self.contents.faults)


def check_text(value: str) -> None:
    """Raises ValueError for what only a mistake puts into a variable."""
    text = value.strip()
    if not text.isprintable():
        raise ValueError(INVISIBLE)
    if text[:1] in ("'", '"') and text.find(text[0], 1) == len(text) - 1:
        raise ValueError("is in quotes, which are a part of the value here. Remove them.")


def misspellings(names: Collection[str]) -> dict[str, str]:
    """The variables that are set and have almost the name of a setting, with the rest of a sentence about each."""
    meant = {name: get_close_matches(name.upper(), names, 1, ALIKE) for name in sorted(os.environ.keys() - set(names))}
    return {name: f"is not a setting. Did you mean {ours[0]}?" for name, ours in meant.items() if ours}
