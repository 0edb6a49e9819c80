"""Date formats of the pages: unambiguous about day and month, with a 24-hour clock."""

DATE_FORMAT = "j M Y"
DATETIME_FORMAT = "j M Y, H:i"
