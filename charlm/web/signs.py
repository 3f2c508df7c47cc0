"""Signs for characters that cannot be seen, or change how those around them are shown; and their width."""

import unicodedata

_DIRECTIONS = {"\u061c", *map(chr, (*range(0x200E, 0x2010), *range(0x202A, 0x202F), *range(0x2066, 0x206A)))}
"""Characters that change the direction in which those after them are written."""

_BLANK = {"\u034f", "\u115f", "\u1160", "\u17b4", "\u17b5", "\u3164", "\uffa0"}
"""Letters and marks that nothing is drawn for."""

_DOTTED_CIRCLE = "\N{DOTTED CIRCLE}"


def without_effect(character: str) -> str:
    """A character, or a sign for one that could steer a terminal.

    Control characters become their pictures (ESC: `␛`), the others their code (`<U+0085>`).
    """
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\N{SYMBOL FOR DELETE}"
    if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or character in _DIRECTIONS:
        return f"<U+{code:04X}>"
    return character


def columns(text: str) -> int:
    """The width of a text in columns; characters of East Asian scripts are two wide."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def standing_alone(character: str) -> str:
    """A character, or a sign for it, that can be seen and does not join its neighbours.

    A line break is `↵`, and a tab `⇥`. A combining mark is on a dotted circle. A conjoining jamo is the
    separate letter. A character that is drawn as nothing is its code. Blanks stay.
    """
    if character in "\n\t":
        return "↵" if character == "\n" else "⇥"
    category = unicodedata.category(character)
    if category in ("Cf", "Cn", "Co") or character in _BLANK:
        return f"<U+{ord(character):04X}>"
    if category.startswith("M"):
        return _DOTTED_CIRCLE + character
    return _jamo(character) or without_effect(character)


def _jamo(character: str) -> str:
    """The letter of a conjoining jamo, or the jamo on a dotted circle; empty for any other character."""
    name = unicodedata.name(character, "")
    kind, _, letter = name.removeprefix("HANGUL ").partition(" ")
    if not name.startswith("HANGUL ") or kind not in ("CHOSEONG", "JUNGSEONG", "JONGSEONG"):
        return ""
    try:
        return unicodedata.lookup(f"HANGUL LETTER {letter}")
    except KeyError:
        return character if kind == "CHOSEONG" else _DOTTED_CIRCLE + character
