"""Commands that are imported when they are called, so that `charlm --help` answers at once."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click


class LazyCommand(click.Command):
    """The name and the purpose of a command whose module is not loaded yet.

    `place` is the command itself: its module in this folder, a colon, its name there.
    """

    def __init__(self, name: str, place: str, purpose: str) -> None:
        super().__init__(name, short_help=purpose)
        self.place = place

    def load(self) -> click.Command:
        """The command itself."""
        module, name = self.place.split(":")
        command: click.Command = getattr(import_module(f"charlm.cli.{module}"), name)
        return command


class LazyGroup(click.Group):
    """A group of commands: by its name, each has a place and a purpose, as in `LazyCommand`."""

    def __init__(self, *args: Any, lazy: Mapping[str, tuple[str, str]], **settings: Any) -> None:
        super().__init__(*args, **settings)
        for name, (place, purpose) in lazy.items():
            self.add_command(LazyCommand(name, place, purpose))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The name, the command itself, and the arguments that are left for it."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command.load() if isinstance(command, LazyCommand) else command, rest
