"""Texts that what a regular expression found is put into: Apache's ap_pregsub. Pure.

    reference = "$" DIGIT
    escape    = "\\" ( "$" / "&" )          ; stands for the second character

Invariant: what was found is never searched for references again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_REFERENCE = re.compile(r"\\([$&])|\$([0-9])")


def substitute(template: str, found: Sequence[str]) -> str:
    """A template with $0 to $9 replaced, as `Pattern.search` gives them. A missing group is ""."""

    def put(reference: re.Match[str]) -> str:
        if reference[1]:
            return reference[1]
        group = int(reference[2])
        return found[group] if group < len(found) else ""

    return _REFERENCE.sub(put, template)
