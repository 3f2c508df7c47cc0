"""charlm eval gradients."""

import sys
from pathlib import Path
from typing import Any

import click

import charlm
from charlm.cli.bar import ReadingBar
from charlm.cli.options import Command, config_option, json_option, set_option
from charlm.cli.show import show
from charlm.config import reading
from charlm.system.team import ALONE


@click.command(cls=Command)
@config_option(
    "Check this configuration's network.  [default: small networks of every cell, depth and dropout]"
)
@set_option
@json_option
@click.pass_obj
def gradients(bar: ReadingBar, config_path: Path | None, overrides: tuple[str, ...], as_json: bool) -> None:
    """Check the hand-written gradients against central differences, in float64.

    With --config, the network is checked at its own sizes, on one window of the batch that it is
    trained with, divided as training divides it. Every parameter and the carried state are named
    with their worst relative error. Of large arrays some entries are measured one by one, and all
    of them along random directions. The exit status is 1 if any gradient is wrong.
    """
    given = reading.parse_overrides(overrides)
    config = None if config_path is None else reading.load(config_path, given)
    rows: list[dict[str, Any]] = []
    for name, checks in charlm.interface.checking.check(config, given, ALONE.prepare(), bar.advance):
        bar.close()
        if not as_json:
            click.echo(name)
        for check in checks:
            rows.append(
                {
                    "model": name,
                    "parameter": check.name,
                    "worst_relative_error": check.worst,
                    "entries": check.size,
                    "entries_checked": check.checked,
                    "right": check.right,
                }
            )
            if not as_json:
                entries = f"{check.checked} of {check.size} entries{'' if check.right else '   WRONG'}"
                click.echo(f"  {check.name:<16} {check.worst:.1e}   {entries}")
    tolerance = charlm.interface.TOLERANCE
    worst = max(row["worst_relative_error"] for row in rows)
    wrong = [f"{row['parameter']} ({row['model']})" for row in rows if not row["right"]]
    values = {"worst_relative_error": worst, "tolerance": tolerance, "right": not wrong, "checks": rows}
    line = f"all {len(rows)} gradients are right: worst relative error {worst:.1e}, tolerance {tolerance:g}"
    if wrong:
        line = f"WRONG: {len(wrong)} of {len(rows)} gradients: {', '.join(wrong)}"
    show(values, [line], as_json)
    sys.exit(1 if wrong else 0)
