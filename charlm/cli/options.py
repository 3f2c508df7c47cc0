"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path

import click

checkpoint_option = click.option(
    "--checkpoint",
    "checkpoint_path",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="A checkpoint file, or a run directory (its best).  [default: the newest run under ./runs]",
)

set_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a key of the configuration, such as model.hidden=256; may be repeated.",
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
