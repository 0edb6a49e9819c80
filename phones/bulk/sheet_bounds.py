"""What an XLSX file may hold, looked at before it is opened.

Its reader builds most parts in memory as a whole and reads some again for each sheet, and a few kilobytes unpack to a
thousand times as much.
"""

import zipfile
from typing import BinaryIO
from xml.parsers import expat  # the reader's own parser, so both see the same; nothing is built here

MAX_PARTS, MAX_SHEETS = 1000, 256
# Of the file, and of a part that is no sheet.
MAX_UNPACKED_BYTES, MAX_PART_BYTES = 256 * 1024 * 1024, 16 * 1024 * 1024
# In all: 250,000 rows of six cells are about as many.
MAX_ALL_ELEMENTS = 5_000_000
# Elements of a part, by the name of its root: texts that cells share, references to other parts, and all others.
MAX_ELEMENTS, MAX_OTHER_ELEMENTS = {"sst": 1_000_000, "Relationships": 10_000}, 200_000
# Of a worksheet: elements of a row, which has 16,384 cells at most; before the rows; and elsewhere.
MAX_IN_ROW, MAX_BEFORE_ROWS, MAX_BYTES_BEFORE_ROWS, MAX_OUTSIDE = 100_000, 20_000, 1024 * 1024, 200_000
# A cell has 32,767 characters at most.
MAX_DEPTH, MAX_BYTES_BETWEEN_TAGS = 64, 1024 * 1024
CHUNK_BYTES = 64 * 1024
# What the reader takes for a row, and for the beginning of the rows.
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
ROW, ROWS = f"{MAIN} row", f"{MAIN} sheetData"


class OutOfBounds(Exception):
    """There is more in the file than in any that people fill in."""


def check_bounds(stream: BinaryIO) -> None:
    """Raise OutOfBounds for a file that would keep its reader busy for long, or take much memory.

    Raises also ValueError for a file with a document type, and what zipfile raises for one that is none.
    """
    with zipfile.ZipFile(stream) as archive:
        parts = archive.infolist()
        if len(parts) > MAX_PARTS or sum(part.file_size for part in parts) > MAX_UNPACKED_BYTES:
            raise OutOfBounds
        left = MAX_ALL_ELEMENTS
        for part in parts:
            one = Part(part.file_size, left)
            one.read(archive, part)
            left = one.left


class Part:
    """One part of the file as far as it is XML, counted element by element."""

    def __init__(self, size: int, left: int) -> None:
        self.size, self.left = size, left
        self.root = ""
        self.depth = self.elements = self.sheets = self.row_depth = self.in_row = self.last_tag_at = 0
        self.rows_began = False
        self.parser = parser = expat.ParserCreate(namespace_separator=" ")
        parser.StartDoctypeDeclHandler = self.refuse
        parser.StartElementHandler = self.start
        parser.EndElementHandler = self.end

    def read(self, archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> None:
        with archive.open(part) as content:
            try:
                while chunk := content.read(CHUNK_BYTES):
                    self.parser.Parse(chunk)
                    self.measure()
            except expat.ExpatError:
                return  # a picture; or it is broken, and the reader stops here too

    def refuse(self, *_: object) -> None:
        raise ValueError("a document type, of which nothing good is to be expected")

    def start(self, name: str, _: object) -> None:
        local_name = name.rpartition(" ")[2]
        self.last_tag_at = self.measure()
        self.depth += 1
        self.left -= 1
        if self.depth == 1:
            self.root = local_name
            if local_name != "worksheet" and self.size > MAX_PART_BYTES:
                raise OutOfBounds
        if self.row_depth and local_name != "si":  # of which a part that calls itself a sheet has none
            self.in_row += 1
        elif name == ROW:
            self.row_depth, self.in_row = self.depth, 0
        else:
            self.elements += 1
            self.rows_began = self.rows_began or name == ROWS
            self.sheets += local_name == "sheet"
        if self.left < 0 or self.depth > MAX_DEPTH or self.in_row > MAX_IN_ROW or self.sheets > MAX_SHEETS:
            raise OutOfBounds
        if self.elements > self.most():
            raise OutOfBounds

    def end(self, _: str) -> None:
        self.last_tag_at = self.measure()
        if self.depth == self.row_depth:
            self.row_depth = self.in_row = 0
        self.depth -= 1

    def most(self) -> int:
        """How many elements the part may have, those in rows aside."""
        if self.root == "worksheet":
            return MAX_OUTSIDE if self.rows_began else MAX_BEFORE_ROWS
        return MAX_ELEMENTS.get(self.root, MAX_OTHER_ELEMENTS)

    def measure(self) -> int:
        """Look at how much there is between two tags, and before the rows. Returns where the parser is."""
        at = self.parser.CurrentByteIndex
        if at - self.last_tag_at > MAX_BYTES_BETWEEN_TAGS:
            raise OutOfBounds
        if self.root == "worksheet" and not self.rows_began and at > MAX_BYTES_BEFORE_ROWS:
            raise OutOfBounds
        return at
