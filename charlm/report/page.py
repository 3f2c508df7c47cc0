"""The report: one page of pictures of a trained model, in a file that loads nothing.

Its parts are the files in `charlm/report/web`; what the network computed is put into them here. What
moves with the mouse and the keys is drawn by `report.js` from the data in the page, everything else
is written into the page.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from charlm.data.corpus import Progress, nothing
from charlm.data.signs import without_effect
from charlm.errors import CorpusError, DivergenceError, ExtraError, RunError
from charlm.inference.gradient_flow import gradient_flow
from charlm.inference.held_out import HeldOut
from charlm.inference.trace import trace
from charlm.report import curves, drawing, history
from charlm.report.characters import KINDS, directions, input_rows, kept, kinds, layout, nearest
from charlm.report.neurons import HIGH, LOW, Neurons, Saturation, neurons, ranked, saturation
from charlm.report.stretch import Stretch
from charlm.report.surprise import (
    Mean,
    Surprise,
    by_position_in_line,
    by_position_in_word,
    hardest_words,
    surprise,
)
from charlm.runs.checkpoint import Checkpoint
from charlm.runs.directory import RunDirectory
from charlm.runs.log import read_objects
from charlm.web import assembly
from charlm.web.text import MOST_BITS, signs

LENGTH = 5_000
"""Characters of the text that is shown."""

LONGEST = 20_000
"""Characters of it at most."""

_LISTED = 24
"""Units that are listed for each property."""

_PREVIEWS = 8
"""Previews that are shown, evenly spread over the run."""

_PREVIEW, _PREVIEW_LINES = 400, 8
"""Characters of a preview that are shown, and lines."""

_MOST_SIGNS = 300
"""Characters that are drawn by their input rows: those that occur most often in the text."""

_MAKING = "making the page"

_LONGEST_WORD = 30
"""Characters of a word that are shown."""


@dataclass(frozen=True)
class Report:
    """The page, and what the user should know of it."""

    html: str
    remarks: tuple[str, ...]


def report(
    loaded: Checkpoint,
    run: Path | None,
    read: HeldOut,
    source: str,
    length: int = LENGTH,
    threads: int = 1,
    progress: Progress = nothing,
) -> Report:
    """The page about a model: the same for the same input, byte for byte.

    Parameters
    ----------
    run
        The directory whose log belongs to the model; None if there is none.
    read
        The text to look at, of which the first `length` characters are shown.
    source
        What this text is, in words.
    progress
        Called after each of the parts that take long.

    Raises
    ------
    CorpusError
        If there is nothing in the text to predict.
    DivergenceError
        If what the network computes is not finite.
    """
    if not read.text.targets:
        raise CorpusError("the text has nothing to predict: it needs a line, or two characters")
    model, params, vocabulary = loaded.model, loaded.parameters, loaded.vocabulary
    stretch = Stretch.of(read.text, vocabulary, length)
    progress("total", 5)
    traced = trace(model, params, stretch.ids, stretch.begins, vocabulary.names())
    progress(_MAKING, 1)
    held = neurons(traced, stretch)
    progress(_MAKING, 1)
    told = surprise(traced.logits, stretch.ids)
    progress(_MAKING, 1)
    curve, remarks = _curves(run)
    progress(_MAKING, 1)
    flow = _flow(loaded, read, threads)
    progress(_MAKING, 1)
    data = {
        "text": _text(stretch),
        "losses": _losses(told),
        "neurons": _neurons(held),
        "names": signs(vocabulary, np.arange(len(vocabulary))),
        "most": _most_bits(told, stretch),
    }
    styles = assembly.part("web", "base.css") + assembly.part("report/web", "report.css")
    html = assembly.page(
        assembly.part("report/web", "report.html"),
        loaded,
        style=styles,
        script=assembly.part("report/web", "report.js"),
        account=assembly.account(loaded),
        what=_counted(len(stretch.shown), source, is_whole=len(stretch.shown) < length),
        curves=curve,
        previews=_previews(run),
        flow=flow,
        mean=_mean_bits(told, stretch, assembly.unit(loaded)),
        hardest=_hardest(stretch, told),
        positions=_positions(stretch, told),
        neurons_note=_neurons_note(held, stretch),
        saturation=_saturations(saturation(traced)),
        characters=_characters(loaded, stretch),
        data=assembly.as_json(data),
    )
    return Report(html, remarks)


def _counted(count: int, source: str, is_whole: bool) -> str:
    characters = f"{count:,} characters" if count > 1 else "character"
    return assembly.as_html(f"The {'' if is_whole else 'first '}{characters} of {source}")


def _packed(array: npt.NDArray[Any], kind: str) -> str:
    """The bytes of an array, little-endian, as text."""
    return base64.b64encode(np.ascontiguousarray(array).astype(kind).tobytes()).decode("ascii")


def _text(stretch: Stretch) -> dict[str, Any]:
    """The characters: their signs, those that end a line, and the units that each is made of."""
    return {
        "signs": [one.sign for one in stretch.shown],
        "breaks": [k for k, one in enumerate(stretch.shown) if one.ends_line],
        "starts": [one.units.start for one in stretch.shown] + [stretch.shown[-1].units.stop],
        "ids": stretch.ids.tolist(),
    }


def _losses(told: Surprise) -> dict[str, Any]:
    """What there is for every unit: bits of one that is not predicted are below 0."""
    return {
        "expected": told.expected.shape[1],
        "bits": _packed(np.nan_to_num(told.bits, nan=-1.0), "<f4"),
        "ranks": _packed(told.ranks, "<u4"),
        "likeliest": _packed(told.expected, "<u4"),
        "probabilities": _packed(told.probabilities, "<f4"),
    }


def _neurons(held: Neurons) -> dict[str, Any]:
    """The values of every unit, and the lists that rank them."""
    return {
        "groups": [{"layer": layer, "state": state} for layer, state in held.groups],
        "hidden": len(held.values) // len(held.groups),
        "length": held.values.shape[1],
        "scales": [float(f"{scale:.3g}") for scale in held.scales.tolist()],
        "values": _packed(held.values, "i1"),
        "properties": [
            {
                "name": about,
                "r": np.rint(found * 1000).astype(int).tolist(),
                "best": ranked(found, _LISTED),
            }
            for about, found in held.correlations.items()
        ],
    }


def _curves(run: Path | None) -> tuple[str, tuple[str, ...]]:
    """The curves of a run, or why there are none; and the same for the user."""
    if run is None or not RunDirectory(run).metrics.exists():
        return "<p>There is no log beside this checkpoint.</p>", ()
    try:
        return curves.inline_svg([history.read(run)]), ()
    except (ExtraError, RunError) as error:
        return f"<p>No curves: {assembly.as_html(str(error))}</p>", (f"no curves: {error}",)


def _previews(run: Path | None) -> str:
    """What the model wrote while it was trained, beside the epoch."""
    if run is None or not RunDirectory(run).previews.exists():
        return ""
    try:
        every = [one for one, _ in read_objects(RunDirectory(run).previews)]
        kept = [
            every[k]
            for k in np.unique(np.linspace(0, len(every) - 1, min(_PREVIEWS, len(every))).astype(int))
        ]
        items = [
            f"<li><b>epoch {drawing.number(float(one['epoch']))}</b>"
            f'<p lang="" dir="auto">{_visible(_beginning(str(one["text"])))}</p></li>'
            for one in kept
        ]
    except (RunError, KeyError, TypeError, ValueError) as error:
        return f"<p>No previews: {assembly.as_html(str(error))}</p>"
    return f"<h3>What it wrote while it learned</h3><ol>{''.join(items)}</ol>" if items else ""


def _beginning(text: str) -> str:
    """What is shown of a preview."""
    lines = text[:_PREVIEW].split("\n")
    if len(lines) > _PREVIEW_LINES:
        return "\n".join([*lines[:_PREVIEW_LINES], "…"])
    return text if len(text) <= _PREVIEW else text[:_PREVIEW] + "…"


def _visible(text: str) -> str:
    """A text as HTML, its line breaks kept."""
    return escape("".join(c if c == "\n" else without_effect(c) for c in text))


def _flow(loaded: Checkpoint, read: HeldOut, threads: int) -> str:
    """The gradient with respect to earlier states, or why it cannot be measured."""
    try:
        measured = gradient_flow(loaded.model, loaded.parameters, read.text, threads=threads)
    except (CorpusError, DivergenceError) as error:
        return f"<p>Not measured: {assembly.as_html(str(error))}</p>"
    norms = measured.relative
    L, S, steps = norms.shape
    names = [f"layer {layer}" + f" {state}" * (S > 1) for layer in range(L) for state in measured.states]
    last = [f"{name}: {norm:.1e}" for name, norm in zip(names, norms[..., -1].flat, strict=True)]
    words = f"At {steps - 1} steps back, relative to none:"
    label = f"Norm of the gradient over steps back, logarithmic, mean of {measured.places} places. {words} "
    figures = "; ".join(f"<span>{one}</span>" for one in last)
    memory = "c is the memory of the LSTM, and h its output. " if "c" in measured.states else ""
    return (
        f"{drawing.flow(names, norms, label + '; '.join(last))}"
        f"<p>{words} {figures}. {memory}Mean of {measured.places} places. The axis is the same in every "
        "report.</p>"
    )


def _most_bits(told: Surprise, stretch: Stretch) -> float:
    """Bits of the darkest shade: more where a quarter of the characters, of several units, would have it."""
    bits = stretch.sums(told.bits)
    bits = bits[~np.isnan(bits)]
    return 2 * MOST_BITS if len(bits) and np.quantile(bits, 0.75) > MOST_BITS else MOST_BITS


def _mean_bits(told: Surprise, stretch: Stretch, unit: str) -> str:
    """The figure for the whole stretch."""
    bits = told.bits[~np.isnan(told.bits)]
    if not len(bits):
        return ""
    return f"{drawing.number(bits.mean(), 3)} bits per {unit} on these."


def _hardest(stretch: Stretch, told: Surprise) -> str:
    """The hardest words as buttons that lead to their places."""
    bits = stretch.sums(told.bits)
    items = []
    for word in hardest_words(stretch, bits):
        signs_ = [one.sign for one in stretch.shown[word]]
        shown = "".join(signs_[:_LONGEST_WORD]) + ("…" if len(signs_) > _LONGEST_WORD else "")
        items.append(
            f'<li><button type="button" data-place="{word.start}"><b lang="">{escape(shown)}</b> '
            f"<span>{drawing.number(bits[word].sum(), 1)} bits</span></button></li>"
        )
    return (
        f"<ol>{''.join(items)}</ol>" if items else "<p>No word is predicted from its first character on.</p>"
    )


def _positions(stretch: Stretch, told: Surprise) -> str:
    """Mean bits by position in line and word."""
    bits = stretch.sums(told.bits)
    found = []
    for about, means in (
        ("position in the line", by_position_in_line(stretch, bits)),
        ("position in the word", by_position_in_word(stretch, bits)),
    ):
        if means:
            found.append(
                f"<figure><figcaption>Mean bits by {about}</figcaption>{_bars(means, about)}</figure>"
            )
    return "".join(found)


def _bars(means: Sequence[Mean], about: str) -> str:
    words = "; ".join(f"{one.label}: {drawing.number(one.bits)}" for one in means)
    titles = [f"{one.label}: {drawing.number(one.bits, 3)} bits, mean of {one.count:,}" for one in means]
    label = f"Mean bits by {about}. {words}"
    return drawing.bars([one.label for one in means], [one.bits for one in means], titles, label)


def _neurons_note(held: Neurons, stretch: Stretch) -> str:
    """How much of the text is coloured, if not all of it is."""
    length, whole = held.values.shape[1], len(stretch.shown)
    of_c = "Of c it is tanh(c). " if any(state == "c" for _, state in held.groups) else ""
    if length == whole:
        return of_c
    return of_c + (
        f"Of so many units, the values at the first {length:,} characters are in this page; the correlations "
        f"are those of all {whole:,}."
    )


def _saturations(gates: Sequence[Saturation]) -> str:
    """A picture for each gate, with its figures."""
    layers: dict[int, list[str]] = {}
    for one in gates:
        low, high = 100 * one.low.mean(), 100 * one.high.mean()
        name = f"layer {one.layer}, gate {one.gate}"
        words = [f"below {LOW:g}: {low:.0f} %", f"above {HIGH:g}: {high:.0f} %"]
        label = (
            f"{name}, a dot for each unit: across the share of the time below {LOW:g}, up above {HIGH:g}. "
            + ", ".join(words)
        )
        layers.setdefault(one.layer, []).append(
            f"<figure>{drawing.scatter(one.low, one.high, f'below {LOW:g}', f'above {HIGH:g}', label)}"
            f"<figcaption><b>{escape(name)}</b><br>{'<br>'.join(words)}</figcaption></figure>"
        )
    rows = (f'<div class="gates">{"".join(figures)}</div>' for figures in layers.values())
    return "".join(rows) or "<p>This cell has no gates between 0 and 1.</p>"


def _characters(loaded: Checkpoint, stretch: Stretch) -> str:
    """A map of the units by their input rows, what the marks mean, and the most alike of each."""
    vocabulary = loaded.vocabulary
    rows = input_rows(loaded.parameters["layers.0.Wx"])
    if not np.isfinite(rows).all():
        raise DivergenceError("a weight is not a finite number")
    counts = np.bincount(stretch.ids, minlength=len(vocabulary))
    chosen = np.sort(np.argsort(-counts, kind="stable")[:_MOST_SIGNS])
    shown = ["␣" if name == " " else name for name in signs(vocabulary, chosen)]
    every = kinds(vocabulary)
    own = [every[k] for k in chosen]
    units = directions(rows)[chosen]
    cosines = units @ units.T
    near = nearest(cosines)
    alike = [" · ".join(f"{shown[u]} {cosines[v, u]:.2f}" for u in others) for v, others in enumerate(near)]
    points = drawing.on_map(layout(cosines))
    many = f"{near.shape[1]} " if near.shape[1] > 1 else ""
    label = (
        f"Map of {len(chosen)} {assembly.unit(loaded)}s. Of the {many}most alike of each, "
        f"{100 * kept(near, points):.0f} % are among its {many}nearest on the map."
    )
    links = [(v, u) for v, others in enumerate(near.tolist()) for u in others[:1] if cosines[v, u] > 0]
    words = [f"{sign}: {what}; {others}" for sign, what, others in zip(shown, own, alike, strict=True)]
    picture = drawing.constellation(points, shown, own, links, words, label)
    items = [
        f"<li>{drawing.key(what)}{what}</li>" if drawing.key(what) else f"<li>{what}: no mark</li>"
        for what in KINDS
        if what in own
    ]
    listed = [
        f"<li><b>{escape(sign)}</b> {escape(others)}</li>" for sign, others in zip(shown, alike, strict=True)
    ]
    few = " They are the ones that occur most often in the text." if len(chosen) < len(vocabulary) else ""
    return (
        f'<ul class="kinds">{"".join(items)}</ul>{picture}<p>{label}{few}</p>'
        "<details><summary>The most alike of each, with the cosine</summary>"
        f'<ul lang="">{"".join(listed)}</ul></details>'
    )
