"""The gradients of a configuration's network, checked through the code that trains it."""

from collections.abc import Iterator, Mapping
from typing import Any

from charlm.config.build import build_corpus, build_model
from charlm.config.keys import Config
from charlm.config.reading import resolve
from charlm.data.corpus import Progress, nothing
from charlm.nn.cells import forms
from charlm.nn.gradcheck import Check, check_model
from charlm.system.team import ALONE, Team
from charlm.system.workers import slices
from charlm.training.memory import check_memory, needed
from charlm.training.sharded import default_shards

SMALL_VOCAB = 7
"""Vocabulary of a made-up text for small networks."""

USUAL_VOCAB = 65
"""Vocabulary of a made-up text where a configuration names no text."""

_ENTRIES = 60
"""Most entries of an array that are measured one by one."""

_SECONDS = 25.0
"""About how long the check of one network may take."""


def text_size(config: Config, progress: Progress = nothing) -> tuple[int, int] | None:
    """Characters that the configured text has to train on, and units of its vocabulary.

    None if the configuration names no text. Raises `CorpusError` if it cannot be read.
    """
    if not config.corpus.path:
        return None
    corpus, _ = build_corpus(config.corpus, progress=progress)
    return corpus.part("train").targets, len(corpus.vocabulary)


def check_config(
    config: Config, team: Team = ALONE, vocab: int | None = None, progress: Progress = nothing
) -> list[Check]:
    """Check every gradient of the network that `config` describes; see `check_model`.

    At its own sizes, on a made-up window of its own batch, divided into shards as training does
    with `team`, and with the vocabulary of its text. With `vocab`, a small window of a
    made-up text with that vocabulary. `progress` is called while the text is read, and while the
    gradients are measured.
    """
    train = config.train
    if vocab is not None:
        model = build_model(config.model, vocab, config.run.kernel)
        check_memory(needed(model, train, B=3, T=5, itemsize=8), config)
        return check_model(model, config.model.init, train.seed, _ENTRIES)
    size = text_size(config, progress)
    model = build_model(config.model, size[1] if size else USUAL_VOCAB, config.run.kernel)
    shards = train.shards or default_shards(train.batch, team)
    check_memory(needed(model, train, train.batch, train.seq_len, shards, itemsize=8), config)
    return check_model(
        model,
        config.model.init,
        train.seed,
        _ENTRIES,
        steps=train.seq_len,
        batch=train.batch,
        shards=slices(train.batch, shards),
        seconds=_SECONDS,
        progress=progress,
    )


def check(
    config: Config | None, given: Mapping[str, Any], team: Team = ALONE, progress: Progress = nothing
) -> Iterator[tuple[str, list[Check]]]:
    """The name of a network, and the checks of its gradients.

    It is the network of `config`, or each small network of `_every_form` with the settings `given`.
    """
    if config is not None:
        yield name(config), check_config(config, team, progress=progress)
        return
    for form in _every_form(given):
        small = resolve({**form, **given}, name="gradients", where="`set`")
        yield name(small), check_config(small, vocab=SMALL_VOCAB)


def _every_form(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Small networks of each cell in each form, 1 to 3 layers, without and with noise; once each."""
    noises = [(0.0, "window", 0.0), (0.3, "window", 0.0), (0.3, "step", 0.3)]
    every = [
        {
            "model.cell": cell,
            "model.gru_reset": form or "after",
            "model.layers": layers,
            "model.dropout": dropout,
            "model.dropout_mask": mask,
            "model.weight_drop": weight_drop,
            "model.hidden": 5,
        }
        for cell, form in forms()
        for layers in (1, 2, 3)
        for dropout, mask, weight_drop in noises
    ]
    distinct = {tuple(sorted({**form, **given}.items(), key=str)): form for form in every}
    return list(distinct.values())


def name(config: Config) -> str:
    """The network of a configuration in words: `2 x 5 lstm, dropout 0.3 per window`."""
    model = config.model
    reset = f" (reset {model.gru_reset})" if model.cell == "gru" else ""
    dropout = f", dropout {model.dropout:g} a {model.dropout_mask}" if model.dropout else ""
    weights = f", weight drop {model.weight_drop:g}" if model.weight_drop else ""
    return f"{model.layers} x {model.hidden} {model.cell}{reset}{dropout}{weights}"
