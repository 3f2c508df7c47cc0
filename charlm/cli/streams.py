"""The standard streams of a command: always there, and in an encoding that loses nothing."""

import os
import sys


def prepare_streams() -> None:
    """Give this process three standard streams.

    A closed descriptor (`2>&-`) is opened on the null device, so that no other file gets its number:
    standard input is empty, standard output cannot be written, and standard error goes nowhere.
    A file or a pipe gets UTF-8. A terminal keeps its encoding, with `?` for what that lacks.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:  # a new descriptor has the lowest number that is free
            os.open(os.devnull, os.O_WRONLY if name == "stderr" else os.O_RDONLY)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding=None if stream.isatty() else "utf-8", errors="replace")
