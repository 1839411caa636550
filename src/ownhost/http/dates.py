"""HTTP dates: IMF-fixdate out, all three forms in (RFC 9110, section 5.6.7)."""

from __future__ import annotations

import calendar
import re
import time
from datetime import date

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_TIME = "(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
# The part after the weekday. The zone is not read: it can only be GMT.
_FORMS = tuple(
    re.compile(rf"\s*[^\s ]+ {form}")
    for form in (
        f"(?P<day>[0-9]{{1,2}}) (?P<month>[A-Z][a-z]{{2}}) (?P<year>[0-9]{{4}}) {_TIME} ",  # IMF-fixdate
        f"(?P<day>[0-9]{{2}})-(?P<month>[A-Z][a-z]{{2}})-(?P<year>[0-9]{{2}}) {_TIME} ",  # RFC 850
        f"(?P<month>[A-Z][a-z]{{2}}) (?P<day>[ 0-9][0-9]) {_TIME} (?P<year>[0-9]{{4}})",  # asctime
    )
)


def format_date(seconds: float) -> str:
    """Seconds since the epoch as IMF-fixdate, in English whatever the locale."""
    year, month, day, hour, minute, second, weekday, *_ = time.gmtime(seconds)
    return f"{_DAYS[weekday]}, {day:02d} {_MONTHS[month - 1]} {year:04d} {hour:02d}:{minute:02d}:{second:02d} GMT"


def parse_date(text: str) -> int | None:
    """Seconds since the epoch; None if the text is not an HTTP date (a recipient then ignores it).

    As lenient as Apache (apr_date_parse_http), since the dates to compare are those that clients
    sent.
    """
    for form in _FORMS:
        match = form.match(text)
        if match is not None:
            return _seconds(match)
    return None


def _seconds(match: re.Match[str]) -> int | None:
    hour, minute, second = (int(match[name]) for name in ("hour", "minute", "second"))
    year = _full_year(match["year"])
    try:
        date(year, month := _MONTHS.index(match["month"]) + 1, day := int(match["day"]))
    except ValueError:
        return None
    if hour > 23 or minute > 59 or second > 61:  # with leap seconds, as C counts them
        return None
    return calendar.timegm((year, month, day, hour, minute, second))


def _full_year(digits: str) -> int:
    """A year. One of two digits that seems more than 50 years ahead is the latest past one with those digits."""
    year = int(digits)
    if len(digits) == 2:
        this_year = time.gmtime().tm_year
        year += this_year // 100 * 100
        if year > this_year + 50:
            year -= 100
    return year
