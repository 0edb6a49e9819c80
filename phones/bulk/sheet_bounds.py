"""Check the size and structure of an XLSX file before it is opened.

openpyxl builds most parts in memory as a whole and reads some again for each sheet, and a few kilobytes can unpack to a
thousand times as much.
"""

import zipfile
from typing import BinaryIO
from xml.parsers import expat  # openpyxl's own parser, so both see the same; it builds no tree

MAX_PARTS, MAX_SHEETS = 1000, 256
# Unpacked: all parts together, and a part that is not a worksheet.
MAX_UNPACKED_BYTES, MAX_PART_BYTES = 256 * 1024 * 1024, 16 * 1024 * 1024
# In the whole file: about 250,000 rows of six cells, but only as many as its size makes credible. Rows that differ in
# little more than a number take 26 bytes, for 19 elements.
MAX_ALL_ELEMENTS, MIN_ALL_ELEMENTS, ELEMENTS_OF_BYTE = 5_000_000, 300_000, 0.8
# In a part, by the name of its root element: shared texts, references to other parts, and any other part.
MAX_ELEMENTS, MAX_OTHER_ELEMENTS = {"sst": 1_000_000, "Relationships": 10_000}, 80_000
# In a worksheet: elements of a row, which has at most 16,384 cells; elements and bytes before the rows; elements
# anywhere else.
MAX_IN_ROW, MAX_BEFORE_ROWS, MAX_BYTES_BEFORE_ROWS, MAX_OUTSIDE = 100_000, 20_000, 1024 * 1024, 200_000
# A cell has at most 32,767 characters.
MAX_DEPTH, MAX_BYTES_BETWEEN_TAGS = 64, 1024 * 1024
CHUNK_BYTES = 64 * 1024
# The elements that openpyxl takes for a row and for the start of the rows.
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
ROW, ROWS = f"{MAIN} row", f"{MAIN} sheetData"
# The root of a workbook in the strict variant, which has other namespaces and openpyxl does not read.
STRICT = "http://purl.oclc.org/ooxml/spreadsheetml/main workbook"


class OutOfBounds(Exception):
    """The file is larger than any that people fill in."""


class IsStrict(Exception):
    """The file is of the strict variant of the format."""


def check_bounds(stream: BinaryIO) -> None:
    """Raise OutOfBounds for a file that would take openpyxl much time or memory, and IsStrict for one it cannot read.

    Also raises ValueError for a file with a document type declaration, and what zipfile raises if it is not a ZIP file.
    """
    with zipfile.ZipFile(stream) as archive:
        parts = archive.infolist()
        if len(parts) > MAX_PARTS or sum(part.file_size for part in parts) > MAX_UNPACKED_BYTES:
            raise OutOfBounds
        packed = sum(part.compress_size for part in parts)
        left = min(MAX_ALL_ELEMENTS, MIN_ALL_ELEMENTS + int(packed * ELEMENTS_OF_BYTE))
        for part in parts:
            checked = Part(part.file_size, left)
            checked.read(archive, part)
            left = checked.left


class Part:
    """One part of the file, if it is XML, counted element by element. `left` is what the whole file may still have."""

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
                return  # a picture, or broken XML, at which openpyxl stops too

    def refuse(self, *_: object) -> None:
        raise ValueError("a document type declaration, which no spreadsheet needs")

    def start(self, name: str, _: object) -> None:
        local_name = name.rpartition(" ")[2]
        self.last_tag_at = self.measure()
        self.depth += 1
        self.left -= 1
        if self.depth == 1:
            self.root = local_name
            if name == STRICT:
                raise IsStrict
            if local_name != "worksheet" and self.size > MAX_PART_BYTES:
                raise OutOfBounds
        if self.row_depth and local_name != "si":  # shared texts, which do not occur in a worksheet
            self.in_row += 1
        elif name == ROW:
            self.row_depth, self.in_row = self.depth, 0
        else:
            self.elements += 1
            self.rows_began = self.rows_began or name == ROWS
            self.sheets += local_name == "sheet"
        if self.left < 0 or self.depth > MAX_DEPTH or self.in_row > MAX_IN_ROW or self.sheets > MAX_SHEETS:
            raise OutOfBounds
        if self.elements > self.max_elements():
            raise OutOfBounds

    def end(self, _: str) -> None:
        self.last_tag_at = self.measure()
        if self.depth == self.row_depth:
            self.row_depth = self.in_row = 0
        self.depth -= 1

    def max_elements(self) -> int:
        """How many elements the part may have outside rows."""
        if self.root == "worksheet":
            return MAX_OUTSIDE if self.rows_began else MAX_BEFORE_ROWS
        return MAX_ELEMENTS.get(self.root, MAX_OTHER_ELEMENTS)

    def measure(self) -> int:
        """Check the bytes since the last tag and before the rows. Returns the parser's position in bytes."""
        at = self.parser.CurrentByteIndex
        if at - self.last_tag_at > MAX_BYTES_BETWEEN_TAGS:
            raise OutOfBounds
        if self.root == "worksheet" and not self.rows_began and at > MAX_BYTES_BEFORE_ROWS:
            raise OutOfBounds
        return at
