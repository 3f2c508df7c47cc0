"""How training shows itself: a bar on a terminal, plain lines anywhere else."""

from __future__ import annotations

import contextlib
import math
import shutil
import sys
from typing import Any

import click
from tqdm import tqdm

from charlm.cli.show import losses, printable
from charlm.training.loop import Event, Logged, Previewed, Updated, Validated, Warned
from charlm.training.trainer import Trainer

_SMOOTHING = 0.98
"""Share of the shown loss that stays from update to update: a mean over about 50."""


class Display:
    """Shows the events of a run on stderr."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.is_terminal = sys.stderr.isatty()
        self.loss = math.nan
        self.bar: Any = None
        if self.is_terminal:
            tqdm.monitor_interval = 0  # no thread of its own: workers are forked while the bar stands
            size = shutil.get_terminal_size()  # 80 x 24 where the terminal says nothing, or 0
            self.bar = tqdm(
                total=trainer.planned_steps,
                initial=trainer.progress.step,
                unit="update",
                ncols=size.columns,
                nrows=size.lines,
                bar_format="{percentage:3.0f}%|{bar:20}| {n_fmt}/{total_fmt} "
                "[{elapsed}<{remaining}{postfix}]",
            )

    def show(self, event: Event) -> None:
        """Show one event."""
        match event:
            case Updated(update):
                self._advance(None if update.dropped else update.loss)
            case Logged(train_loss, chars_per_s):
                if not self.is_terminal:
                    self._line(f"{self._position()}{_train(train_loss)}  {chars_per_s:,.0f} chars/s")
            case Validated(train_loss, validation_loss, chars_per_s, is_best):
                validation = "" if validation_loss is None else f"  validation {losses(validation_loss)}"
                best = "  best so far" if is_best else ""
                self._line(
                    f"{self._position()}{_train(train_loss)}{validation}  {chars_per_s:,.0f} chars/s{best}"
                )
            case Previewed(text):
                self._line("\n".join(f"  | {line}" for line in printable(text).split("\n")))

            case Warned(message):
                self._line(f"Warning: {message}")

    def close(self) -> None:
        """Leave the terminal as it was; safe to call twice."""
        if self.bar is not None:
            with contextlib.suppress(OSError):
                self.bar.close()
            self.bar = None

    def _position(self) -> str:
        trainer = self.trainer
        return (
            f"update {trainer.progress.step}/{trainer.planned_steps}  "
            f"epoch {trainer.epoch:.2f}/{trainer.config.train.epochs:g}"
        )

    def _advance(self, loss: float | None) -> None:
        if self.bar is None:
            return
        if loss is not None:
            started = not math.isnan(self.loss)
            self.loss = _SMOOTHING * self.loss + (1 - _SMOOTHING) * loss if started else loss
        speed = self.trainer.progress.since_validation.chars_per_s
        with contextlib.suppress(OSError):
            self.bar.set_postfix_str(f"{losses(self.loss)}, {speed:,.0f} chars/s", refresh=False)
            self.bar.update()

    def _line(self, text: str) -> None:
        # a terminal that was closed, or a full disk behind stderr, is no reason to stop training
        with contextlib.suppress(OSError):
            if self.bar is not None:
                self.bar.write(text, file=sys.stderr)
            else:
                click.echo(text, err=True)


def _train(loss: float | None) -> str:
    return "" if loss is None else f"  train {losses(loss)}"
