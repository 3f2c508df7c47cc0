"""Fonts that draw the characters of a picture."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from charlm.system.extras import extra

DEFAULT = "DejaVu Sans"
"""The family that comes with matplotlib; it has no Hangul, among others."""


def families(text: str) -> tuple[list[str], str]:
    """Font families that together draw `text`, the default first, and the characters that none draws.

    Fonts of the system are looked through only for what the default lacks; upright ones without
    serifs are preferred. Those that are chosen are known to matplotlib afterwards. Raises
    `ExtraError` if matplotlib is missing.
    """
    manager = extra("matplotlib.font_manager", "plot")
    found = [DEFAULT]
    missing = set(text) - _drawn(manager.get_font(manager.findfont(DEFAULT)))
    if missing:
        for file in sorted(manager.findSystemFonts(), key=_preference):
            # fonts that matplotlib cannot open, or whose pictures have one size
            with contextlib.suppress(OSError, RuntimeError, ValueError, NotImplementedError):
                font = manager.get_font(file)
                if font.scalable and missing & _drawn(font):
                    manager.fontManager.addfont(file)
                    found.append(font.family_name)
                    missing -= _drawn(font)
            if not missing:
                break
    return found, "".join(sorted(missing))


def _drawn(font: Any) -> set[str]:
    return set(map(chr, font.get_charmap()))


def _preference(file: str) -> tuple[bool, bool, bool, str]:
    """Sorts fonts; a name without `regular` may be that of any style."""
    name = os.path.basename(file).lower()
    odd = any(word in name for word in ("bold", "italic", "oblique", "light", "thin", "black", "mono"))
    return odd, "serif" in name and "sans" not in name, "regular" not in name, file
