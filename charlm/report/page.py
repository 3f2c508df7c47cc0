"""The report: one page of pictures of a trained model.

The files in `charlm/report/web` are its body, its style and its script, which draws what moves with
the mouse and the keys from the data in the page. Everything else is written into the page here.
"""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from charlm.arrays import Array
from charlm.config.limits import LENGTH
from charlm.data.corpus import Progress, nothing
from charlm.data.texts import Text
from charlm.inference.gradient_flow import gradient_flow
from charlm.inference.trace import trace
from charlm.report import curves, drawing, history
from charlm.report.activity import (
    HIGH,
    LOW,
    Neurons,
    Saturation,
    Surprise,
    by_position,
    hardest_words,
    neurons,
    ranked,
    saturation,
    surprise,
)
from charlm.report.characters import directions, kept, kind, layout, nearest
from charlm.report.stretch import Stretch
from charlm.runs.checkpoint import Checkpoint
from charlm.runs.directory import RunDirectory
from charlm.runs.log import read_objects
from charlm.system.errors import CorpusError, DivergenceError, ExtraError, RunError
from charlm.system.team import ALONE, Team
from charlm.web import assembly
from charlm.web.signs import without_effect
from charlm.web.text import MOST_BITS, signs

_NO_LESSON = "<code>charlm lesson RUN</code> makes a page that"

_LISTED = 24
"""Units in the list of each property."""

_PREVIEWS, _PREVIEW, _PREVIEW_LINES = 8, 400, 8
"""Most previews, evenly spread over the run; most characters and lines of one."""

_MOST_SIGNS, _LONGEST_WORD = 300, 30
"""Most characters on the map, the most frequent ones of the text; most characters of a word."""


def report(
    loaded: Checkpoint,
    run: Path | None,
    text: Text,
    source: str,
    length: int = LENGTH,
    team: Team = ALONE,
    progress: Progress = nothing,
    lesson: bool = False,
) -> tuple[str, list[str]]:
    """The page about a model, the same for the same input, and what the user should know of it.

    Parameters
    ----------
    run
        The directory whose log belongs to the model, or None.
    text
        The text to look at. Its first `length` characters are shown.
    source
        The name of this text for readers.
    progress
        Called after each part that takes long.
    lesson
        Whether the model's lesson, `lesson.html`, is beside the page.

    Raises
    ------
    DivergenceError
        If a value of the network is not finite.
    """
    model, params, vocabulary = loaded.model, loaded.parameters, loaded.vocabulary
    stretch = Stretch.of(text, vocabulary, length)
    progress("total", 3)
    traced = trace(model, params, stretch.ids, stretch.begins, vocabulary.names())
    units, surprises = neurons(traced, stretch), surprise(traced.logits, stretch.ids)
    progress("making the page", 1)
    drawn, remarks = _curves(run)
    progress("making the page", 1)
    flow = _flow(loaded, text, team)
    progress("making the page", 1)
    bits = stretch.sums(surprises.bits)  # [C]
    html = assembly.page(
        assembly.about(loaded),
        "report/web/report",
        ("report/web/report.js",),
        data=_data(loaded, stretch, surprises, units),
        what=_counted(len(stretch.shown), length, source),
        curves=drawn,
        previews=_previews(run),
        flow=flow,
        lesson='<a href="lesson.html">The lesson</a>' if lesson else _NO_LESSON,
        mean=_mean(surprises.bits, assembly.unit(loaded)),
        hardest=_hardest(stretch, bits),
        positions=_positions(stretch, bits),
        neurons_note=_neurons_note(units, len(stretch.shown)),
        saturation=_saturations(saturation(traced)),
        characters=_characters(loaded, stretch),
    )
    return html, remarks


def _data(loaded: Checkpoint, stretch: Stretch, surprises: Surprise, units: Neurons) -> dict[str, Any]:
    """The data of the script: for each unit, character and neuron what it shows."""
    bits = stretch.sums(surprises.bits)
    bits = bits[~np.isnan(bits)]
    packed = assembly.packed
    return {
        "text": {
            "signs": [one.sign for one in stretch.shown],
            "breaks": [k for k, one in enumerate(stretch.shown) if one.ends_line],
            "starts": [one.units.start for one in stretch.shown] + [stretch.shown[-1].units.stop],
            "ids": stretch.ids.tolist(),
        },
        "losses": {
            "expected": surprises.expected.shape[1],
            "bits": packed(np.nan_to_num(surprises.bits, nan=-1.0), "<f4"),  # below 0: not predicted
            "ranks": packed(surprises.ranks, "<u4"),
            "likeliest": packed(surprises.expected, "<u4"),
            "probabilities": packed(surprises.probabilities, "<f4"),
        },
        "neurons": {
            "groups": [{"layer": layer, "state": state} for layer, state in units.groups],
            "hidden": len(units.values) // len(units.groups),
            "length": units.values.shape[1],
            "scales": [float(f"{scale:.3g}") for scale in units.scales.tolist()],
            "values": packed(units.values, "i1"),
            "properties": [
                {"name": about, "r": np.rint(r * 1000).astype(int).tolist(), "best": ranked(r, _LISTED)}
                for about, r in units.correlations.items()
            ],
        },
        "names": signs(loaded.vocabulary, np.arange(len(loaded.vocabulary))),
        # the bits of the darkest shade: more where a quarter of the characters would have it
        "most": MOST_BITS * (2 if len(bits) and np.quantile(bits, 0.75) > MOST_BITS else 1),
    }


def _counted(count: int, length: int, source: str) -> str:
    """`The first 5,000 characters of the validation split`, as HTML."""
    characters = f"{count:,} characters" if count > 1 else "character"
    return assembly.as_html(f"The {'' if count < length else 'first '}{characters} of {source}")


def _curves(run: Path | None) -> tuple[str, list[str]]:
    """The curves of a run, or the reason why there are none; and the same for the user."""
    if run is None or not RunDirectory(run).metrics.exists():
        return "<p>There is no log beside this checkpoint.</p>", []
    try:
        return curves.inline_svg([history.read(run)]), []
    except (ExtraError, RunError) as error:
        return f"<p>No curves: {assembly.as_html(str(error))}</p>", [f"no curves: {error}"]


def _previews(run: Path | None) -> str:
    """The texts that the model wrote while it was trained, with their epochs."""
    if run is None or not RunDirectory(run).previews.exists():
        return ""
    try:
        every = [one for one, _ in read_objects(RunDirectory(run).previews)]
        places = np.unique(np.linspace(0, len(every) - 1, min(_PREVIEWS, len(every))).astype(int))
        shown = [(float(every[k]["epoch"]), str(every[k]["text"])) for k in places]
    except (RunError, KeyError, TypeError, ValueError) as error:
        return f"<p>No previews: {assembly.as_html(str(error))}</p>"
    items = (
        f'<li class="beside"><span class="side quiet">epoch {drawing.number(epoch)}</span>'
        f'<p class="book" lang="" dir="auto">{_beginning(text)}</p></li>'
        for epoch, text in shown
    )
    return f"<h3>What it wrote while it learned</h3><ol>{''.join(items)}</ol>" if shown else ""


def _beginning(text: str) -> str:
    """The beginning of a preview as HTML, its line breaks kept."""
    beginning = "\n".join(text[:_PREVIEW].split("\n")[:_PREVIEW_LINES])
    visible = "".join(c if c == "\n" else without_effect(c) for c in beginning)
    return escape(visible + "…" * (len(beginning) < len(text)))


def _flow(loaded: Checkpoint, text: Text, team: Team) -> str:
    """The norm of the gradient with respect to earlier states, or why it cannot be measured."""
    try:
        measured = gradient_flow(loaded.model, loaded.parameters, text, team=team)
    except (CorpusError, DivergenceError) as error:
        return f"<p>Not measured: {assembly.as_html(str(error))}</p>"
    norms = measured.relative
    L, S, steps = norms.shape
    names = [f"layer {layer}" + f" {state}" * (S > 1) for layer in range(L) for state in measured.states]
    ends = [f"{name}: {norm:.1e}" for name, norm in zip(names, norms[..., -1].flat, strict=True)]
    last = f"At {steps - 1} steps back, relative to none: {'; '.join(ends)}"
    mean = f"mean of {measured.places} places"
    memory = " c is the memory of the LSTM, and h its output." if "c" in measured.states else ""
    picture = drawing.flow(names, norms, f"Norm of the gradient over steps back, logarithmic, {mean}. {last}")
    return (
        f'{picture}<figcaption class="quiet">{last} ({mean}).{memory} The axis is the same in every report.'
        "</figcaption>"
    )


def _mean(bits: Array, unit: str) -> str:
    """The mean bits of the units `[N]` in words; empty if none is predicted."""
    known = bits[~np.isnan(bits)]
    return f"{drawing.number(known.mean(), 3)} bits per {unit} on these." if len(known) else ""


def _hardest(stretch: Stretch, bits: Array) -> str:
    """The hardest words as buttons that lead to their places; `bits [C]`."""
    items = []
    for word in hardest_words(stretch, bits):
        shown = [one.sign for one in stretch.shown[word]]
        name = "".join(shown[:_LONGEST_WORD]) + "…" * (len(shown) > _LONGEST_WORD)
        items.append(
            f'<li><button type="button" class="entry" data-place="{word.start}">'
            f'<b lang="">{escape(name)}</b> <span>{drawing.number(bits[word].sum(), 1)} bits</span>'
            "</button></li>"
        )
    return (
        f"<ol>{''.join(items)}</ol>" if items else "<p>No word is predicted from its first character on.</p>"
    )


def _positions(stretch: Stretch, bits: Array) -> str:
    """The mean of `bits [C]` by position in line and word, as bars."""
    return "".join(
        f'<figure><figcaption class="quiet">Mean bits by {about}</figcaption>'
        f"{drawing.bars(rows, f'Mean bits by {about}')}</figure>"
        for about, rows in by_position(stretch, bits).items()
        if rows
    )


def _neurons_note(units: Neurons, whole: int) -> str:
    """How much of the text of `whole` characters is coloured, if not all of it."""
    length = units.values.shape[1]
    note = "The values of c are tanh(c). " if any(state == "c" for _, state in units.groups) else ""
    if length < whole:
        note += (
            f"The network has so many units that the page holds their values at the first {length:,} "
            f"characters only; the correlations are over all {whole:,}."
        )
    return note


def _saturations(gates: Sequence[Saturation]) -> str:
    """A picture of the gates of each layer, with figures in words."""
    figures = []
    for layer in sorted({one.layer for one in gates}):
        own = [one for one in gates if one.layer == layer]
        words = f"Layer {layer}. " + "; ".join(
            f"gate {one.gate}: {100 * one.low.mean():.0f} % below {LOW:g}, "
            f"{100 * one.high.mean():.0f} % above {HIGH:g}"
            for one in own
        )
        panels = [(f"layer {layer}, gate {one.gate}", one.low, one.high) for one in own]
        label = f"Share of the time of each unit below {LOW:g}, across, and above {HIGH:g}, up. {words}"
        picture = drawing.scatters(panels, f"below {LOW:g}", f"above {HIGH:g}", label)
        figures.append(f'<figure>{picture}<figcaption class="quiet">{words}.</figcaption></figure>')
    return "".join(figures) or "<p>This cell has no gates between 0 and 1.</p>"


def _characters(loaded: Checkpoint, stretch: Stretch) -> str:
    """A map of the units by their input rows `[V, G·H]`, and the most alike of each."""
    vocabulary, Wx = loaded.vocabulary, loaded.parameters["layers.0.Wx"]  # [G, V, H]
    if not np.isfinite(Wx).all():
        raise DivergenceError("a weight is not a finite number")
    counts = np.bincount(stretch.ids, minlength=len(vocabulary))
    chosen = np.sort(np.argsort(-counts, kind="stable")[:_MOST_SIGNS])
    shown = ["␣" if name == " " else name for name in signs(vocabulary, chosen)]
    codes = dict(enumerate(vocabulary.codes.tolist()))
    kinds = [kind(codes[k], vocabulary.units) if k in codes else "other" for k in chosen.tolist()]
    units = directions(np.concatenate(Wx, axis=1))[chosen]
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
    words = [f"{sign}: {what}; {others}" for sign, what, others in zip(shown, kinds, alike, strict=True)]
    picture = drawing.constellation(points, shown, kinds, links, words, label)
    listed = [
        f"<li><b>{escape(sign)}</b> {escape(others)}</li>" for sign, others in zip(shown, alike, strict=True)
    ]
    few = " They are the ones that occur most often in the text." if len(chosen) < len(vocabulary) else ""
    return (
        f'<figure tabindex="0" aria-label="Characters">{picture}'
        f'<figcaption class="quiet">{label}{few}</figcaption></figure>'
        "<details><summary>The most alike of each, with the cosine</summary>"
        f'<ul class="columns" lang="">{"".join(listed)}</ul></details>'
    )
