"""The command line: it parses, calls and prints, and nothing else.

Errors become messages here and nowhere else. NumPy and what needs it are imported inside the
commands, so that `--help` and a usage error answer at once.
"""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from typing import TextIO

import click

from charlm.cli.bench import bench
from charlm.cli.evaluate import evaluate
from charlm.cli.export import export
from charlm.cli.importing import import_
from charlm.cli.info import info
from charlm.cli.init import init
from charlm.cli.plot import plot
from charlm.cli.report import report
from charlm.cli.sample import sample
from charlm.cli.show import one_line, say, with_options
from charlm.cli.streams import prepare_streams
from charlm.cli.train import train
from charlm.errors import CharlmError, shortened
from charlm.system.files import reason
from charlm.system.mpi import connected
from charlm.system.mpi.launcher import place
from charlm.system.version import __version__

_HELP = """Train character-level language models on a text, and generate text with them.

\b
charlm train --corpus my.txt --minutes 5
charlm sample --prime "The "
charlm eval perplexity
"""


@click.group(help=_HELP, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(__version__, prog_name="charlm")
def charlm() -> None:
    """Group the commands."""


for _command in (train, init, sample, evaluate, plot, report, export, import_, info, bench):
    charlm.add_command(_command)


def main() -> None:
    """Run the command line; every error that a user can cause becomes one line and a status."""
    prepare_streams()
    try:
        # click itself ends quietly, with status 1, when the reader of a pipe has gone
        if _leave_to_the_first(sys.argv[1:]):
            return
        status = charlm.main(prog_name="charlm", standalone_mode=False)
        sys.stdout.flush()
    except CharlmError as error:
        _fail(with_options(str(error)), error.exit_status)
    except MemoryError as error:
        _fail(f"not enough memory: {shortened(error)}", 1)
    except FileNotFoundError as error:
        if error.filename is not None:
            raise
        _fail("the current directory does not exist any more", 1)
    except OSError as error:
        if not _cannot_be_written(sys.stdout):
            raise
        _fail(f"standard output cannot be written: {reason(error)}", 1)
    except click.exceptions.NoArgsIsHelpError as error:
        say(error.format_message())
        sys.exit(2)
    except click.ClickException as error:
        _fail(error.format_message(), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        _fail("", 130)
    except Exception:
        if connected().size > 1:
            traceback.print_exc()
            connected().abort(1)
        raise
    sys.exit(status or 0)


def _fail(message: str, status: int) -> None:
    """End with an error; nothing is shown for an empty message.

    The first rank shows it, and another one what the first does not have too: then that one has
    failed alone, and ends them all.
    """
    team = connected()
    if team.is_first:
        _show(message)
    if not team.together():
        if not team.is_first:
            _show(message and f"rank {team.rank}: {message}")
        team.abort(status)
    sys.exit(status)


def _show(message: str) -> None:
    if message:
        say(f"Error: {one_line(message)}")


_DIVIDED = (["train"], ["bench"], ["eval", "perplexity"])
"""Commands that several ranks do together."""


def _leave_to_the_first(arguments: list[str]) -> bool:
    """Whether this is one of several ranks, and has nothing to do: the first does the command alone."""
    started = place()
    if started.size == 1 or ("--help" not in arguments and any(arguments[: len(c)] == c for c in _DIVIDED)):
        return False
    if started.rank == 0:
        say("Note: only the first rank does this command")
    return started.rank > 0


def _cannot_be_written(stream: TextIO) -> bool:
    """Whether not even a line break can be written; if so, what is left in the stream is dropped."""
    try:
        stream.write("\n")
        stream.flush()
    except OSError:
        with contextlib.suppress(OSError, ValueError):  # a stream without a descriptor
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return True
    return False
