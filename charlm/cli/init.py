"""charlm init."""

from __future__ import annotations

import contextlib
import time

import click

from charlm.cli.options import Command, minutes_option, set_option, settings
from charlm.cli.reading import ReadingBar, corpus_option, warn
from charlm.training.request import ask
from charlm.training.session import planned


@click.command(cls=Command)
@corpus_option
@minutes_option()
@set_option
def init(corpus: str | None, minutes: float | None, overrides: tuple[str, ...]) -> None:
    """Print the configuration that charlm train --corpus would choose, as a YAML file with comments.

    It is chosen for the text, the minutes and this machine, whose speed is measured for some seconds.
    """
    request = ask(None, settings(overrides, corpus), "`set`", time.perf_counter(), minutes)
    with contextlib.closing(ReadingBar()) as bar:
        config, warnings = planned(request, bar.advance)
    warn(warnings)
    click.echo(config.to_commented_yaml(), nl=False)
