"""How a run shows itself on stderr: a table, and on a terminal a bar below it."""

import contextlib
import math
import shutil
import sys
import time
from itertools import accumulate
from typing import Any

from charlm.cli.bar import new_bar
from charlm.cli.show import (
    counted,
    duration,
    losses,
    one_line,
    say,
    shown_path,
    shown_paths,
    visible,
    with_options,
)
from charlm.config.keys import COUNTS
from charlm.runs.log import COLUMNS, Column, Line
from charlm.system.files import byte_size
from charlm.training.events import (
    Event,
    Joined,
    Joining,
    Logged,
    Previewed,
    Read,
    Started,
    Taught,
    Updated,
    Validated,
    Warned,
)
from charlm.web.signs import columns

_SMOOTHING = 0.98
"""Share of the shown loss that is kept from update to update: a mean over about 50."""

_SLOW = 5
"""The first updates of a process, which are slow and not timed."""

_TIMED = 25
"""Updates after which the time of the whole run is estimated."""

_SHORT = 10.0
"""Seconds of a run that is not worth an estimate."""

_LAYOUTS = {
    76: "{percentage:3.0f}%|{bar:15}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]",
    46: "{percentage:3.0f}%|{bar:10}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}]",
    0: "{percentage:3.0f}% {n_fmt} <{remaining}",
}
"""The layout of the bar by the least columns of the window."""

_PREVIEW = 76
"""Most columns of a line of a preview."""

_MARK = "  | "
"""What stands before a line of a preview."""

_TABLE = {
    **{key: COLUMNS[key] for key in ("step", "epoch", "train_loss", "validation_loss")},
    "bits": Column("bits", 7, "z.4f", ""),
    "chars_per_s": COLUMNS["chars_per_s"],
}
"""The columns of the table."""

_LEFT = 69
"""Columns of a terminal that has room for the time that is left, which the bar shows too."""


class Display:
    """Shows the events of a run."""

    def __init__(self) -> None:
        self.is_terminal = sys.stderr.isatty()
        self.loss = math.nan
        self.bar: Any = None
        self._planned = self._first = self._updates = 0
        self._begun = 0.0
        self._has_header = False

    def show(self, event: Event) -> None:
        """Show one event."""
        match event:
            case Started():
                self._start(event)
            case Taught(network, networks, is_read):
                which = [f"network {network + 1} of {networks}"] if networks > 1 else []
                self._line(": ".join(which + ["the teachers read the training text"] * is_read))
            case Read(share):
                self._advance(f"teacher: {share:.0%} of the text", 0)
            case Updated(step, loss, chars_per_s):
                self._estimate(step)
                if loss is not None:
                    self.loss = _smoothed(self.loss, loss)
                self._advance(f"{self.loss:.4f} nats, {chars_per_s:,.0f} chars/s", 1)
            case Logged():
                if not self.is_terminal:
                    self._row(event)
            case Validated():
                self._row(event, " *" * event.is_best)
            case Joining(networks):
                if networks > 1:
                    self._line(f"joining {networks} networks")
                self._advance("scoring", 0)
            case Joined(networks, loss, factor, is_best):
                what = f"{networks} networks joined, " if networks > 1 else ""
                kept = " *" if is_best else ", not better than the best before"
                self._line(f"{what}logits times {factor:g}: validation loss {losses(loss)}{kept}")
            case Previewed(text):
                most = min(_PREVIEW, self._columns() - len(_MARK))
                lines = _wrapped(visible(text, keep="\n"), most)
                self._line("\n".join(f"{_MARK}{line}" for line in lines))
            case Warned(message):
                self._line(f"Warning: {one_line(with_options(message))}")

    def close(self) -> None:
        """Leave the terminal as it was; safe to call twice."""
        if self.bar is not None:
            with contextlib.suppress(OSError):
                self.bar.close()
            self.bar = None

    def _start(self, run: Started) -> None:
        """Say what is about to be trained, and on what."""
        config, unit = run.config, run.config.corpus.unit
        size = counted(run.units, unit) + ("" if run.lines is None else f" in {counted(run.lines, 'line')}")
        separate = {name: f" in {shown_paths(paths)}" for name, paths in config.corpus.separate_paths.items()}
        splits = ", ".join(f"{count:,} {name}{separate.get(name, '')}" for name, count in run.sizes.items())
        model, count = config.model, config.train.generations
        networks = ""
        if count > 1:
            taught = ", each taught by those before it" * config.train.chain
            joined = ", joined to one at the end" * (config.train.join and run.validated[1] > 0)
            networks = f"\n{count} networks one after the other{taught}{joined}"
        if config.train.teachers:
            names = ["the counts of the text" if name == COUNTS else name for name in config.train.teachers]
            which = "the first taught by" if count > 1 and config.train.chain else "taught by"
            networks += f"\n{which} {shown_paths(names)}, with a share of {config.train.teacher_share:g}"
        self._line(
            f"{shown_paths(config.corpus.paths)}: {size}\n"
            f"({splits}), vocabulary of {run.vocabulary:,}\n"
            f"{model.layers} x {model.hidden} {model.cell}, {run.parameters:,} parameters, "
            f"about {byte_size(run.needed_bytes)} of memory{networks}\n"
            f"{counted(run.planned_steps, 'update')} of {run.streams} x {run.seq_len} {unit}s\n"
            f"run in {shown_path(run.path)}"
        )
        if run.step:
            self._line(f"resumed after update {run.step:,}")
        self._planned, self._first, self._begun = run.planned_steps, run.step, time.perf_counter()
        if self.is_terminal:
            self.bar = new_bar(total=run.planned_steps, initial=run.step, **_layout())

    def _estimate(self, step: int) -> None:
        """Say once how long the run takes, as soon as that is known, unless it is short."""
        self._updates += 1
        if self._updates == _SLOW:
            self._first, self._begun = step, time.perf_counter()
        elif self._updates == _TIMED:
            left = self._left(step)
            if left > _SHORT:
                self._line(f"about {duration(left)} left on this machine, validation not counted")

    def _advance(self, remark: str, updates: int) -> None:
        """Move the bar by so many updates, with a remark behind it."""
        if self.bar is None:
            return
        with contextlib.suppress(OSError):
            self._fit()
            self.bar.set_postfix_str(remark, refresh=not updates)
            self.bar.update(updates)

    def _fit(self) -> None:
        """Fit the bar to the window, which may have changed."""
        layout = _layout()
        if layout["ncols"] < self.bar.ncols:
            # terminals have broken the line of the bar in several: remove them, and forget its length
            above = (len(str(self.bar)) - 1) // (layout["ncols"] + 1)
            sys.stderr.write((f"\x1b[{above}A" if above else "") + "\r\x1b[J")
            self.bar.sp = self.bar.status_printer(self.bar.fp)
        vars(self.bar).update(layout)

    def _left(self, step: int) -> float:
        """Seconds to the end of the run, at the pace of all timed updates and what came between them."""
        done = step - self._first
        return (time.perf_counter() - self._begun) / max(1, done) * (self._planned - step)

    def _row(self, line: Line, mark: str = "") -> None:
        """A row of the table: some columns of the log, the loss in bits, and the time that is left."""
        has_left = self._columns() >= _LEFT
        if not self._has_header:
            self._has_header = True
            headings = "".join(f" {column.heading:>{column.width}}" for column in _TABLE.values())
            self._line(
                f"losses in nats per character; bits = nats / ln 2\n{headings}" + f"{'left':>9}" * has_left
            )
        loss = line.train_loss if line.validation_loss is None else line.validation_loss
        values = {**vars(line), "bits": None if loss is None else loss / math.log(2)}
        cells = "".join(f" {column.cell(values[key])}" for key, column in _TABLE.items())
        # the first timed update has taken no time yet
        left = duration(self._left(line.step), brief=True) if line.step > self._first else ""
        self._line(cells + f"{left:>9}" * has_left + mark)

    def _columns(self) -> int:
        """The width of the window; 80 where there is none."""
        return shutil.get_terminal_size().columns if self.is_terminal else 80

    def _line(self, text: str) -> None:
        # a terminal that was closed, or a full disk behind stderr, is no reason to stop training
        with contextlib.suppress(OSError):
            if self.bar is not None:
                self.bar.write(text, file=sys.stderr)
            else:
                say(text)


def _smoothed(mean: float, loss: float) -> float:
    """The running mean with another loss; NaN is one of none."""
    return loss if math.isnan(mean) else _SMOOTHING * mean + (1 - _SMOOTHING) * loss


def _layout() -> dict[str, Any]:
    """The size and layout of the bar, one line of the window, as attributes of tqdm."""
    window = shutil.get_terminal_size()  # 80 x 24 where the terminal does not tell, or says 0
    layouts = (layout for least, layout in _LAYOUTS.items() if window.columns >= least)
    return {"ncols": window.columns - 1, "nrows": window.lines, "bar_format": next(layouts)}


def _wrapped(text: str, most: int) -> list[str]:
    """The lines of a text, cut after a blank where possible so that they have at `most` so many columns."""
    lines = []
    for line in text.split("\n"):
        rest = line
        # the first characters that fit
        while (fits := max(1, sum(end <= most for end in accumulate(map(columns, rest))))) < len(rest):
            blank = rest.rfind(" ", 0, fits) + 1
            lines.append(rest[: blank or fits])
            rest = rest[blank or fits :]
        lines.append(rest)
    return lines
