"""charlm init."""

import time

import click

import charlm
from charlm.cli.bar import ReadingBar
from charlm.cli.options import Command, corpus_option, minutes_option, set_option
from charlm.cli.show import warn
from charlm.config.reading import parse_overrides
from charlm.training.request import ask


@click.command(cls=Command)
@corpus_option
@minutes_option()
@set_option
@click.pass_obj
def init(bar: ReadingBar, corpus: str | None, minutes: float | None, overrides: tuple[str, ...]) -> None:
    """Print the configuration that charlm train --corpus would choose, as a YAML file with comments.

    It is chosen for the text, the minutes and this machine, whose speed is measured for some seconds.
    """
    given = parse_overrides(overrides)
    request = ask(None, given, "`set`", time.perf_counter(), minutes, corpus=corpus)
    config, warnings = charlm.interface.session.planned(request, bar.advance)
    bar.close()
    warn(warnings)
    click.echo(config.to_commented_yaml(), nl=False)
