"""What a text is made of for the model: characters or bytes, as integer codes; and back to text.

A code is a Unicode code point (`unit: char`) or the value of a byte (`unit: byte`).
"""

from __future__ import annotations

import codecs
import unicodedata
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np

from charlm.errors import CorpusError
from charlm.nn.parameters import Ids

_Form = Literal["NFC", "NFD", "NFKC", "NFKD"]


@dataclass(frozen=True)
class Units:
    """How texts become codes: `unit` is `char` or `byte`, `normalize` a Unicode form or `none`."""

    unit: str = "char"
    normalize: str = "none"

    def of_bytes(self, data: bytes, where: str) -> Ids:
        """Codes `[N]` of a file's contents; characters are read from strict UTF-8.

        Raises `CorpusError` naming `where`, the byte and the line that are not UTF-8.
        """
        if self.unit == "byte" or data.isascii():  # ASCII is its own code, in every normalisation
            return np.frombuffer(data, np.uint8)
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise CorpusError(
                f"{where} is not UTF-8: byte {error.start} (0x{data[error.start]:02x}, line {line}); "
                "convert the file, or use corpus.unit: byte"
            ) from error
        return self.of_text(text)

    def of_text(self, text: str) -> Ids:
        """Codes `[N]` of a text that did not come from a file, such as a prime.

        Bytes that the command line could not decode come back as they were in `byte`, and as
        lone surrogates, which no vocabulary holds, in `char`.
        """
        if self.unit == "byte":
            return np.frombuffer(text.encode("utf-8", "surrogateescape"), np.uint8)
        if self.normalize != "none":
            text = unicodedata.normalize(cast(_Form, self.normalize.upper()), text)
        return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)

    def describe(self, code: int) -> str:
        """A code for a message: `'é' (U+00E9)`, or `byte 0xe9`."""
        if self.unit == "byte":
            return f"byte 0x{code:02x}"
        character = chr(code)
        return f"{character!r} (U+{code:04X})"

    def writer(self) -> Writer:
        """A fresh `Writer` for generated codes."""
        return Writer(self)


class Writer:
    """Turns codes that arrive one at a time into text that can be shown at once.

    Bytes are held back until they complete a UTF-8 character (what never does is shown as the
    replacement character). Decomposed text (`nfd`, `nfkd`) is composed again, and held back until
    nothing that follows can change it: no half syllable is shown, and none is lost.
    """

    def __init__(self, units: Units) -> None:
        self._bytes = codecs.getincrementaldecoder("utf-8")("replace")
        self._is_byte = units.unit == "byte"
        self._composes = units.normalize in ("nfd", "nfkd")
        self._held = ""

    def write(self, code: int) -> str:
        """Take one more code; returns the text that it completes, which may be empty."""
        if self._is_byte:
            return self._bytes.decode(bytes([code]))
        character = chr(code)
        if not self._composes:
            return character
        held = unicodedata.normalize("NFC", self._held)
        joined = unicodedata.normalize("NFC", self._held + character)
        if self._held and joined == held + character and not unicodedata.combining(character):
            # nothing of what is held combines with this character, so nothing later can either
            self._held = character
            return held
        self._held += character
        return ""

    def finish(self) -> str:
        """What is still held back, at the end."""
        rest = self._bytes.decode(b"", final=True) + unicodedata.normalize("NFC", self._held)
        self._held = ""
        return rest
