"""HTTP dates: IMF-fixdate out, all three forms in (RFC 9110, section 5.6.7)."""

from __future__ import annotations

import calendar
import time

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_FORMS = (
    "%a, %d %b %Y %H:%M:%S GMT",  # IMF-fixdate
    "%A, %d-%b-%y %H:%M:%S GMT",  # RFC 850
    "%a %b %d %H:%M:%S %Y",  # asctime
)


def format_date(seconds: float) -> str:
    """Seconds since the epoch as IMF-fixdate, in English whatever the locale."""
    year, month, day, hour, minute, second, weekday, *_ = time.gmtime(seconds)
    return f"{_DAYS[weekday]}, {day:02d} {_MONTHS[month - 1]} {year:04d} {hour:02d}:{minute:02d}:{second:02d} GMT"


def parse_date(text: str) -> int | None:
    """Seconds since the epoch; None where the text is no HTTP date (which a recipient then ignores)."""
    for form in _FORMS:
        try:
            parsed = time.strptime(text, form)
        except ValueError:
            continue
        return _seconds(parsed, two_digits="%y" in form)
    return None


def _seconds(parsed: time.struct_time, two_digits: bool) -> int:
    year = parsed.tm_year
    # RFC 9110: a two-digit year that seems more than 50 years ahead is the latest past one with those digits.
    if two_digits:
        this_year = time.gmtime().tm_year
        year = this_year // 100 * 100 + year % 100
        if year > this_year + 50:
            year -= 100
    return calendar.timegm((year, *parsed[1:6], 0, 0, 0))
