"""The likely format or encoding of a file that is not text in the expected encoding.

Bytes do not say their encoding. A byte-order mark does; otherwise it is a guess, and a message shows
how each likely encoding reads.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Iterable
from itertools import chain

START = 1024
"""First bytes of a file that show what it is."""

_FORMATS = (
    ("a ZIP archive, as .docx, .odt, .xlsx, .epub and .npz files are", rb"PK(\x03\x04|\x05\x06|\x07\x08)"),
    ("a Word, Excel or PowerPoint file", rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
    ("an RTF document", rb"\{\\rtf"),
    ("a PDF document", rb"%PDF-"),
    ("a Kindle book", rb".{60}BOOKMOBI"),
    ("a gzip file that is not named .gz", rb"\x1f\x8b"),
    ("a bzip2 file", rb"BZh[1-9](1AY&SY|\x17rE8P\x90)"),
    ("an xz file that is not named .xz", rb"\xfd7zXZ\0"),
    ("a zstd file", rb"\x28\xb5\x2f\xfd"),
    ("a 7z archive", rb"7z\xbc\xaf\x27\x1c"),
    ("a RAR archive", rb"Rar!\x1a\x07"),
    ("a PNG image", rb"\x89PNG"),
    ("a JPEG image", rb"\xff\xd8\xff"),
    ("a GIF image", rb"GIF8[79]a"),
    ("a WebP image", rb"RIFF.{4}WEBP"),
    ("a TIFF image", rb"II\*\0|MM\0\*"),
    ("an MP3 sound", rb"ID3[\x02-\x04]\x00|\xff[\xfa\xfb]"),
    ("an Ogg sound", rb"OggS\0"),
    ("a FLAC sound", rb"fLaC\0"),
    ("a WAV sound", rb"RIFF.{4}WAVE"),
    ("an MP4 film or sound, or a HEIC image", rb"\0\0\0.ftyp"),
    ("a program", rb"\x7fELF|MZ.\0|\xcf\xfa\xed\xfe"),
    ("a NumPy array", rb"\x93NUMPY"),
    ("an SQLite database", rb"SQLite format 3\0"),
)
"""Formats that are not plain text, each with the bytes that its files begin with."""

_TYPED = rb"[\t\n\r -~]"

_MARKS = (
    ("utf-8", rb"\xef\xbb\xbf", ()),
    ("utf-32", rb"\xff\xfe\0\0", ("utf-32-le", "utf-16", "utf-16-le")),
    ("utf-32", rb"\0\0\xfe\xff", ("utf-32-be",)),
    ("utf-16", rb"\xff\xfe", ("utf-16-le",)),
    ("utf-16", rb"\xfe\xff", ("utf-16-be",)),
    ("utf-16-le", rb"(..){0,500}?(%b\0){8}" % _TYPED, ()),
    ("utf-16-be", rb"(..){0,500}?(\0%b){8}" % _TYPED, ()),
)
"""Encodings, the first bytes that show each, and other encodings that allow them."""

_QUOTES = "’‘“”„–—…"

_WESTERN, _CENTRAL = ("cp1252", "mac-roman", "cp850"), ("cp1250", "iso8859-2", "cp852")

_LATIN = (
    (("cp1252",), "é£°©½\xa0" + _QUOTES),  # English
    (_WESTERN, "éèàêçâîôûùœïëÉÀÊÇ«»" + _QUOTES),  # French
    (_WESTERN, "äöüßÄÖÜ«»" + _QUOTES),  # German
    (_WESTERN, "áéíóúñü¿¡Á" + _QUOTES),  # Spanish
    (_WESTERN, "ãáçéíóõâêúàÉ" + _QUOTES),  # Portuguese
    (_WESTERN, "àèéìòùÈ" + _QUOTES),  # Italian
    (_WESTERN, "åäöæøéÅÄÖØ" + _QUOTES),  # Scandinavian
    (_CENTRAL, "ąćęłńóśźżŁŚ" + _QUOTES),  # Polish
    (_CENTRAL, "áčďéěíňóřšťúůýžČŘŠŽ" + _QUOTES),  # Czech
    (_CENTRAL, "áéíóöőúüűÁÉ" + _QUOTES),  # Hungarian
    (("cp1254",), "çğıöşüÇĞİÖŞÜâ" + _QUOTES),  # Turkish
)
"""Encodings of texts in Latin letters, each with the commonest letters outside ASCII of a language."""

_OTHERS = (
    (
        ("cp949",),
        "이다는을에의가고를하지로도은기사한아리나어서자시들그니대인있게해일것수라정스보과여부만으제전상주"
        "면장구안적오무원었았우조성했말비동공거모선트신경와생마때내소년없할진방위세화미유된더회중야연국런"
        "던네요려드습",
    ),
    (
        ("cp932", "euc_jp"),
        "、。「」ーあいうえおかがきくけこさしすせそただちっつてでとどなにねのはばひふへほまみむめもやゆよ"
        "らりるれろわをんアイウエオカキクコサシスセタッツテトドナニノハフマムメラリルレロン",
    ),
    (
        ("gb18030",),
        "，。“”、：！？的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于"
        "着下自之年过发后作里用道行所然家种事成方多经么去法学如都同现当没动面起看定天分还进好小部其些主样"
        "理心她本前开但因只从想",
    ),
    (
        ("big5",),
        "，。「」、：！？的一是不了在人有我他這個們中來上大為和國地到以說時要就出會可也你對生能而子那得於"
        "著下自之年過發後作裡用道行所然家種事成方多經麼去法學如都同現當沒動面起看定天分還進好小部其些主樣"
        "理心她本前開但因只從想",
    ),
    (("cp1251", "koi8-r", "cp866"), "оеаинтсрвлкмдпу" + _QUOTES),
    (("cp1253",), "αοιετσνηυρπκμλς" + _QUOTES),
    (("cp1255",), "יוהלאבתרםשמנכ" + _QUOTES),
    (("cp1256",), "ابتيلنمورعسهدفكةى" + _QUOTES),
)
"""The same for other scripts, whose letters do not stand beside Latin ones."""

_LEAST = 0.35
"""Least share of the characters outside ASCII that are common letters, for an encoding to be named."""

_NEAR = 0.7
"""Least share in proportion to the best one."""

_ENOUGH = 5_000
"""Characters outside ASCII after which a share is known well enough."""

_STRETCH = 50_000
"""Characters of each block in which they are counted."""

_NAMED = 3
"""Most encodings that are named."""

_DAMAGED = 1 / 3
"""Largest share outside ASCII that cannot be decoded, of a file that is UTF-8 with wrong bytes."""

_OUTSIDE_ASCII = re.compile(r"[^\0-\x7f]")

_APART = re.compile(r"(?<![A-Za-z])[^\0-\x7f](?![A-Za-z])")

_NEVER = re.compile(r"[\0-\x08\x0e-\x19\x1b-\x1f\x7f-\x9f\ufffe\uffff\ue000-\uf8ff]")
"""Characters that a text does not hold: control characters, and those for private use."""


def format_of(start: bytes) -> str:
    """The format of a file that is not plain text, by its first bytes; empty if none is recognised."""
    return next((name for name, begins in _FORMATS if re.match(begins, start, re.DOTALL)), "")


def marked(start: bytes, encoding: str = "") -> str:
    """The encoding that the first bytes of a file show; empty if they show none, or allow `encoding`."""
    shown = [mark for mark in _MARKS if re.match(mark[1], start, re.DOTALL)]
    allowed = any(encoding in (name, *others) for name, _, others in shown)
    return "" if allowed or not shown else shown[0][0]


def readings(blocks: Iterable[bytes], shown: str = "") -> list[Reading]:
    """The encodings that decode a whole file into plausible text, the most plausible first.

    The encoding that its first bytes have `shown` comes first. Among the others, which must give no
    control characters, the measure is the share of characters outside ASCII that are common letters
    of a language with this encoding. Names at most three, and one of those that give the same text.
    """
    names = [name for encodings, _ in (*_OTHERS[:4], *_LATIN, *_OTHERS[4:]) for name in encodings]
    names = [shown or "utf-8", "utf-8", *names, "utf-16-le", "utf-16-be"]
    trials = [Reading(name, name == shown) for name in dict.fromkeys(names)]
    for block in chain(blocks, [b""]):
        trials = [trial for trial in trials if trial.reads(block)]
        if not block or all(trial.is_judged for trial in trials):
            trials = _plausible(trials)
    return [one for k, one in enumerate(trials) if not any(map(one.agrees, trials[:k]))][:_NAMED]


def _plausible(trials: list[Reading]) -> list[Reading]:
    """The plausible ones, the most plausible first."""
    shares = {trial: trial.share() for trial in trials}
    least = max([_LEAST, *(_NEAR * share for share in shares.values())])
    ranked = sorted(shares, key=shares.__getitem__, reverse=True)
    return [trial for trial in ranked if shares[trial] >= least]


def is_damaged_utf8(blocks: Iterable[bytes]) -> bool:
    """Whether most of a file outside ASCII is UTF-8, and some bytes are wrong."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    wrong = outside = 0
    for block in chain(blocks, [b""]):
        text = decoder.decode(block, final=not block)
        wrong += text.count("\ufffd")
        outside += len(text) - len(text.encode("ascii", "ignore"))
        if outside >= _ENOUGH:
            break
    return wrong <= _DAMAGED * outside


class Reading:
    """A trial of reading a file in one encoding."""

    def __init__(self, encoding: str, is_shown: bool) -> None:
        """`is_shown` tells whether the first bytes of the file show this encoding."""
        self.encoding, self._is_shown = encoding, is_shown
        self.excerpt = ""
        """The first words that tell this encoding from others."""
        self._decoder = codecs.getincrementaldecoder(encoding)("strict")
        self._outside: Counter[str] = Counter()
        self._apart: Counter[str] = Counter()

    def reads(self, block: bytes) -> bool:
        """Read the next block, empty at the end; returns whether it is text."""
        try:
            text = self._decoder.decode(block, final=not block)
        except UnicodeError:
            return False
        telling = _OUTSIDE_ASCII.search(text)
        if _NEVER.search(text):
            return False
        if telling and not self.is_judged:
            stretch = text[max(0, telling.start() - 1) :][:_STRETCH]
            self._outside.update(_OUTSIDE_ASCII.findall(stretch))
            self._apart.update(_APART.findall(stretch))
        if telling and not self.excerpt:
            begin = text.rfind("\n", 0, telling.start()) + 1
            self.excerpt = " ".join(text[max(begin, telling.start() - 10) :][:24].split())
        return True

    @property
    def is_judged(self) -> bool:
        """Whether enough characters are counted."""
        return self._outside.total() >= _ENOUGH

    def agrees(self, other: Reading) -> bool:
        """Whether both read the same characters."""
        return self._outside == other._outside

    def share(self) -> float:
        """The share of characters outside ASCII that are common; above 1 if the first bytes show it."""
        total = self._outside.total()
        if self._is_shown or self.encoding == "utf-8" or not total:
            return 1.0 + self._is_shown
        tables = ((self._outside, _LATIN), (self._apart, _OTHERS))
        return max(
            sum(map(counts.__getitem__, set(letters))) / total
            for counts, languages in tables
            for encodings, letters in languages
            if self.encoding in encodings or self.encoding.startswith("utf-16")
        )
