"""The files that a directory or a pattern means: a person's texts, not what charlm writes."""

import functools
import glob
import os
import re
from collections.abc import Iterable, Iterator
from itertools import takewhile
from pathlib import Path

_SIGNATURES = {
    suffix: re.compile(pattern)
    for suffixes, pattern in (
        # no text is ever in these; event files of TensorBoard end in .charlm
        ((".npz", ".safetensors", ".onnx", ".charlm"), rb""),
        ((".html", ".htm"), rb'<meta name="generator" content="charlm '),
        ((".svg",), rb"<dc:title>charlm</dc:title>"),
        ((".png",), rb"Software\0charlm"),
        ((".pdf",), rb"/Creator \(charlm\)"),
        ((".yaml", ".yml"), rb"(?m)^corpus:|\A\Z"),
        ((".jsonl",), rb'\A(\{"step": \d|\Z)'),
        ((".ids",), rb"charlm\0\x01\Z"),
    )
    for suffix in suffixes
}
"""By the suffix of a file that charlm writes: what its first or last bytes hold."""

_END = 4096
"""Bytes at each end of a file in which a signature is looked for."""

_NAMED = 2
"""Files and directories of each kind that a remark names."""


def walked(path: str) -> tuple[Path, list[str], str] | None:
    """The files of a directory or of a pattern; None for the path of a single file.

    Run directories below it and what is in them, files that charlm has written, second names of a
    file (links), and in a directory all that is hidden are left out.

    Returns the directory where the walk begins, the files sorted by name, and a remark on what was
    left out, empty if nothing was.
    """
    files: Iterable[str]
    pattern = not os.path.isdir(path)
    if not pattern:
        root, files = Path(path), map(str, Path(path).rglob("*"))
    elif glob.has_magic(path) and not os.path.exists(path):
        root, files = _beginning(path), glob.iglob(path, recursive=True)  # noqa: PTH207 (absolute patterns too)
    else:
        return None

    @functools.cache
    def why_not(path: Path, is_file: bool = False) -> tuple[str, Path] | None:
        """The reason to leave out a path, and the path, or the directory above it, that is left out whole."""
        above = None if path == root else why_not(path.parent)
        if path == root or above:
            return above
        if path.name.startswith(".") and not pattern:
            return "hidden", path
        if not is_file and _is_run(path):
            return "run directories", path
        if is_file and _is_written(path):
            return "written by charlm", path
        return None

    kept: list[str] = []
    left: dict[str, dict[Path, None]] = {}
    targets: set[str] = set()
    for file in sorted({file for file in files if os.path.isfile(file)}):  # `**` may find one twice
        reason, target = why_not(Path(file), is_file=True), os.path.realpath(file)
        if not reason and target in targets:
            reason = "other names of a file that is read", Path(file)
        if reason:
            left.setdefault(reason[0], {})[reason[1].relative_to(root)] = None
        else:
            kept.append(file)
            targets.add(target)
    return root, kept, "; ".join(_counted(kind, list(left[kind])) for kind in sorted(left))


def _beginning(pattern: str) -> Path:
    """The directory below which a pattern looks for files."""
    # a special character alone in brackets is itself (`glob.escape`)
    plain = re.compile(r"\[([*?[])\]")
    parts = takewhile(lambda part: not glob.has_magic(plain.sub("", part)), Path(pattern).parts)
    return Path(*(plain.sub(r"\1", part) for part in parts))


def _is_run(directory: Path) -> bool:
    return all(os.path.isfile(directory / name) for name in ("config.yaml", "metrics.jsonl"))


def _is_written(file: Path) -> bool:
    """Whether charlm has written a file, or it is a configuration."""
    signature = _SIGNATURES.get(file.suffix.lower())
    return signature is not None and any(map(signature.search, _ends(file)))


def _ends(file: Path) -> Iterator[bytes]:
    try:
        with file.open("rb") as stream:
            yield stream.read(_END)
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - _END))
            yield stream.read()
    except OSError:
        return  # reported when the file is read


def _counted(kind: str, paths: list[Path]) -> str:
    """`hidden: 3 (.a, .b, …)`."""
    names = ", ".join([*map(str, paths[:_NAMED]), *(["…"] if len(paths) > _NAMED else [])])
    return f"{kind}: {len(paths):,} ({names})"
