"""Read a file of `NAME=value` lines, such as `.env`, without changing or dropping a value (docs/decisions/0020)."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

# What may stand around names and values. The \s of a pattern, and str.strip() by itself, take more: a no-break space.
BLANKS = " \t"
LINE = re.compile(r"(?:export[ \t]+)?(?P<name>[A-Z_][A-Z0-9_]*|[a-z_][a-z0-9_]*)[ \t]*=(?P<value>.*)")
QUOTED = re.compile(r"""(?P<quote>['"])(?P<value>(?:(?!(?P=quote)).)*)(?P=quote)(?:[\ \t]+\#.*)?""", re.VERBOSE)
# The first word of a line that cannot be read, to find out which setting is meant.
FIRST_WORD = re.compile(r"\W*(?:(?:export|set)\W+)?(\w+)", re.ASCII)
INVISIBLE = "contains an invisible character. Type it again."
# What is needed before the file is read: its name, and the folder for the counters of /metrics.
EARLY = {"ENV_FILE", "TMPDIR", "TEMP", "TMP"}


@dataclass(frozen=True)
class Fault:
    """A line that cannot be read. It may contain a secret, so it is told by its number.

    `word` is the line's first word in capitals, which may be shown only if it is the name of a setting.
    """

    number: int
    word: str
    what: str


@dataclass
class Contents:
    values: dict[str, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)


def read_file(file: Path) -> Contents:
    """Read the file. Raises FileNotFoundError, or ValueError with a sentence if it cannot be read at all."""
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:  # for example a folder, which Docker creates where a file to mount is missing
        raise ValueError(f"cannot be read ({error.strerror}). It must be a file that this user may read.") from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise ValueError("is not in UTF-8 (some Windows programs write UTF-16). Save it again as UTF-8.")
    return parse(text)


def parse(text: str) -> Contents:
    contents = Contents()
    for number, line in enumerate((line.strip(BLANKS) for line in re.split(r"\r\n|\n|\r", text)), 1):
        if line and not line.startswith("#"):
            try:
                name, value = parse_line(line)
                if name in contents.values:
                    raise ValueError("sets a name that an earlier line sets as well. Keep one of them.")
                if name in EARLY and os.environ.get(name) != value:
                    raise ValueError("must be set in the environment: it is used before this file is read.")
                contents.values[name] = value
            except ValueError as error:
                word = FIRST_WORD.match(line)
                contents.faults.append(Fault(number, word[1].upper() if word else "", str(error)))
    return contents


def parse_line(line: str) -> tuple[str, str]:
    """Split a line into name and value. Raises ValueError with a sentence that shows no part of it.

    Forms that shells, systemd, Docker and Compose read differently are refused, except a `$`: it is just a character.
    """
    if not line.replace("\t", " ").isprintable():
        raise ValueError(INVISIBLE)
    match = LINE.fullmatch(line)
    if not match:
        raise ValueError("is not NAME=value, with the name in capital letters.")
    written, value = match["value"], match["value"].strip(BLANKS)
    if value.startswith(("'", '"')):
        quoted = QUOTED.fullmatch(value)
        if not quoted:
            raise ValueError("has a quote that does not end at the end of the line. Write 'value'.")
        value = quoted["value"]
        if quoted["quote"] == '"' and "\\" in value:
            raise ValueError("contains a backslash between double quotes. Use single quotes.")
    elif re.search(r"[ \t]#", written):
        raise ValueError("contains a # after a blank. Put a comment on a line of its own, or the value in 'quotes'.")
    elif value.endswith("\\"):
        raise ValueError("ends with a backslash, but a value cannot continue on the next line.")
    if "\t" in value:
        raise ValueError(INVISIBLE)
    return match["name"], value
