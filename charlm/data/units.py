"""The units of a text, characters or bytes, as integer codes; and codes back to text.

A code is a Unicode code point (`unit: char`) or a byte value (`unit: byte`).
"""

import codecs
import unicodedata
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np

from charlm.arrays import Ids

_Form = Literal["NFC", "NFD", "NFKC", "NFKD"]

LINE_BREAK = ord("\n")
"""The code that ends a line, for either unit."""


@dataclass(frozen=True)
class Units:
    """The conversion of a text to codes."""

    unit: str = "char"
    """`char` or `byte`."""
    normalize: str = "none"
    """A Unicode normal form, or `none`."""
    lowercase: bool = False
    """Whether the text is put into lowercase, before normalisation."""
    newlines: str = "keep"
    r"""`keep`, or `lf`: `\r\n` and a lone `\r` become `\n`."""

    @property
    def is_byte(self) -> bool:
        """Whether a unit is a byte."""
        return self.unit == "byte"

    def is_raw(self, by_line: bool) -> bool:
        """Whether the codes are the characters or bytes of the files, apart from line ends if `by_line`."""
        return self.normalize == "none" and not self.lowercase and (by_line or self.newlines == "keep")

    @property
    def composes(self) -> bool:
        """Whether the codes are decomposed (`nfd`, `nfkd`), so that text for a reader is composed again."""
        return self.normalize in ("nfd", "nfkd")

    def codes(self, text: str | bytes) -> Ids:
        """Codes `[N]` of a text, or of bytes if a unit is a byte."""
        if self.newlines == "lf":
            text = folded(text)
        if isinstance(text, bytes):
            return np.frombuffer(text, np.uint8)
        if self.lowercase:
            text = text.lower()
        if self.normalize != "none":
            text = unicodedata.normalize(cast(_Form, self.normalize.upper()), text)
        if text.isascii():
            return np.frombuffer(text.encode("ascii"), np.uint8)
        return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)

    def of_text(self, text: str) -> Ids:
        """Codes `[N]` of a text that does not come from a file, such as a prime.

        Bytes that the command line could not decode are restored for `byte`. For `char` they are
        lone surrogates, which no vocabulary holds.
        """
        return self.codes(text.encode("utf-8", "surrogateescape") if self.is_byte else text)

    def cut(self, text: str | bytes) -> int:
        """A late index at which `text` can be cut without changing its codes; 0 if there is none.

        The codes of the whole are the codes of both pieces, for any text that follows.
        """
        if isinstance(text, str) and (self.normalize != "none" or self.lowercase):
            # Normal forms do not combine anything with a blank before it. The case of a sigma depends
            # on its word, past marks and punctuation, but not past a blank.
            return 1 + max(text.rfind("\n"), text.rfind(" "))
        half = text.endswith("\r") if isinstance(text, str) else text.endswith(b"\r")
        return len(text) - (self.newlines == "lf" and half)

    def describe(self, code: int) -> str:
        """A code for a message: `'é' (U+00E9)`, or `byte 0xe9`."""
        if self.is_byte:
            return f"byte 0x{code:02x}"
        character = chr(code)
        return f"{character!r} (U+{code:04X})"

    def text(self, codes: Ids) -> str:
        """The text of codes `[N]`, composed, as a `Writer` writes it."""
        plain = self.plain(codes)
        if isinstance(plain, bytes):
            return plain.decode("utf-8", "replace")
        return unicodedata.normalize("NFC", plain) if self.composes else plain

    def plain(self, codes: Ids) -> str | bytes:
        """Codes `[N]` as the characters, or bytes, that they are."""
        if self.is_byte:
            return codes.astype(np.uint8).tobytes()
        return codes.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")


def folded(text: str | bytes) -> str | bytes:
    r"""The text with `\n` for every line break, `\r\n` and `\r` included."""
    if isinstance(text, bytes):
        return text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return text.replace("\r\n", "\n").replace("\r", "\n")


class Writer:
    """Turns codes that arrive one at a time into text that can be shown at once.

    Bytes are held back until they complete a UTF-8 character; invalid bytes become the replacement
    character. Decomposed text (`nfd`, `nfkd`) is composed again, and held back until nothing that
    follows can change it: no partial syllable is shown, and none is lost.
    """

    def __init__(self, units: Units) -> None:
        self._bytes = codecs.getincrementaldecoder("utf-8")("replace")
        self._is_byte = units.is_byte
        self._composes = units.composes
        self._held = ""

    def write(self, code: int) -> str:
        """Add one code; returns the text that it completes, which may be empty."""
        if self._is_byte:
            return self._bytes.decode(bytes([code]))
        character = chr(code)
        if not self._composes:
            return character
        held = unicodedata.normalize("NFC", self._held)
        joined = unicodedata.normalize("NFC", self._held + character)
        if self._held and joined == held + character and not unicodedata.combining(character):
            # the held text does not combine with this character, so nothing later combines with it
            self._held = character
            return held
        self._held += character
        return ""

    def finish(self) -> str:
        """The text that is still held back, at the end."""
        return self._bytes.decode(b"", final=True) + unicodedata.normalize("NFC", self._held)
