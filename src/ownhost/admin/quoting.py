"""Lines of the configuration as written, for people who look for them there."""

from __future__ import annotations

import linecache

from ownhost.config.directive import Source
from ownhost.config.model import Section, SectionKind


def title(section: Section) -> str:
    """A section as it is written; a .htaccess file by its name."""
    if section.kind is SectionKind.HTACCESS:
        return section.source.file
    return f"<{section.kind} {section.pattern}>" if section.pattern else f"<{section.kind}>"


def line_at(source: Source, name: str) -> str:
    """A directive as it is in its file; its name if it is in none."""
    text = linecache.getline(source.file, source.line).strip()
    return text or name
