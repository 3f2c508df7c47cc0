"""The command line: it parses, calls and prints, and nothing else.

Errors become messages here and nowhere else. A command's module, and NumPy with it, is imported when
the command is called.
"""

import contextlib
import os
import sys
import traceback
from typing import TextIO

import click

from charlm.cli.lazy import LazyGroup
from charlm.cli.show import one_line, say, with_options
from charlm.cli.streams import prepare_streams
from charlm.system.errors import CharlmError, shortened
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


_COMMANDS = {
    "train": ("train:train", "Train a model on a text."),
    "init": ("init:init", "Print a configuration for a text."),
    "sample": ("sample:sample", "Generate text with a trained model."),
    "score": ("score:score", "Show how surprising each line, word or character of a text is."),
    "plot": ("plot:plot", "Draw the curves of runs as PNG, SVG or PDF."),
    "report": ("report:report", "Make a web page that shows what a model learned."),
    "lesson": ("lesson:lesson", "Make a web page that steps through a network with its numbers."),
    "export": ("export:export", "Write a trained model as safetensors, ONNX or a web page."),
    "import": ("importing:import_", "Make a run of weights from another program."),
    "info": ("info:info", "Show what a checkpoint holds, the log of a run, or what is cached."),
    "bench": ("bench:bench", "Measure the speed of a configuration."),
}
"""Place and purpose of every command."""

_EVAL = {
    "perplexity": ("perplexity:perplexity", "Nats and bits per character, and perplexity."),
    "gradients": ("gradients:gradients", "Check the hand-written gradients."),
    "gradient-flow": ("gradient_flow:gradient_flow", "How much of the gradient reaches k steps back."),
}
"""Place and purpose of every command of `charlm eval`."""


@click.group(
    cls=LazyGroup,
    lazy=_COMMANDS,
    help=_HELP,
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
)
@click.version_option(__version__, prog_name="charlm")
def charlm() -> None:
    """Group the commands."""


@charlm.group("eval", cls=LazyGroup, lazy=_EVAL, short_help="Measure a model, and check its gradients.")
def evaluate() -> None:
    """Measure a model: how well it predicts, whether its gradients are right, and how far they reach."""


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

    The first rank shows it. Another rank shows its message only if it has failed alone, and then ends
    all ranks.
    """
    team = connected()
    if message and team.is_first:
        say(f"Error: {one_line(message)}")
    if not team.together():
        if message and not team.is_first:
            say(f"Error: rank {team.rank}: {one_line(message)}")
        team.abort(status)
    sys.exit(status)


_DIVIDED = (["train"], ["bench"], ["eval", "perplexity"])
"""Commands that all ranks run together; the first rank alone runs the others."""


def _leave_to_the_first(arguments: list[str]) -> bool:
    """Whether this is a rank that has nothing to do, because the first runs this command alone."""
    started = place()
    if started.size == 1 or ("--help" not in arguments and any(arguments[: len(c)] == c for c in _DIVIDED)):
        return False
    if started.rank == 0:
        say("Note: only the first rank does this command")
    return started.rank > 0


def _cannot_be_written(stream: TextIO) -> bool:
    """Whether the stream is broken. If so, discard its buffer."""
    try:
        stream.write("\n")
        stream.flush()
    except OSError:
        with contextlib.suppress(OSError, ValueError):  # a stream without a descriptor
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return True
    return False
