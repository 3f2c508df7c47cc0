"""What is checked of a configuration: its own network, in the sizes and parts in which it is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from charlm.config.build import build_model
from charlm.config.keys import Config
from charlm.config.reading import resolve
from charlm.nn.cells.gru import GRUBefore
from charlm.nn.model import Model
from charlm.system.errors import ConfigError
from charlm.system.team import Team
from charlm.training import checking
from charlm.training.checking import USUAL_VOCAB, check, check_config, text_size
from charlm.training.memory import needed

SETTINGS: dict[str, Any] = {
    "model.cell": "gru",
    "model.gru_reset": "before",
    "model.hidden": 6,
    "model.layers": 2,
    "model.init": "uniform",
    "model.dropout": 0.2,
    "train.batch": 12,
    "train.seq_len": 9,
    "train.seed": 5,
    "run.kernel": "textbook",
}


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    """The arguments of every check, none of which is done."""
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
    monkeypatch.setattr(checking, "check_model", lambda *args, **named: calls.append((args, named)) or [])
    return calls


def _config(**values: Any) -> Config:
    return resolve({**SETTINGS, **{name.replace("__", "."): value for name, value in values.items()}}, "x")


def _about(model: Model) -> tuple[Any, ...]:
    return type(model.cell), model.vocab, model.hidden, model.layers, model.dropout, model.kernel


@pytest.mark.parametrize(("shards", "threads", "parts"), [(0, 4, 4), (3, 4, 3), (0, 1, 1)])
def test_a_configuration_is_checked_as_it_is_trained(
    tmp_path: Path, checked: list[Any], shards: int, threads: int, parts: int
) -> None:
    """With its own network, text, batch, window, seed and shards; without shards, those of the threads."""
    text = tmp_path / "text.txt"
    text.write_text("abcdefgh" * 20)
    config = _config(corpus__path=str(text), corpus__split=(0.5, 0.5, 0.0), train__shards=shards)
    assert text_size(config) == (79, 8)
    check_config(config, Team(threads))
    ((model, init, seed, _), named) = checked[0]
    assert (_about(model), init, seed) == ((GRUBefore, 8, 6, 2, 0.2, "textbook"), "uniform", 5)
    assert (named["steps"], named["batch"]) == (9, 12)
    assert [part.stop for part in named["shards"]] == [12 * (k + 1) // parts for k in range(parts)]


def test_without_a_text_it_is_checked_on_a_made_up_one(checked: list[Any]) -> None:
    """With the usual vocabulary at its own sizes, or with one that is asked for in a small window."""
    config = _config()
    assert text_size(config) is None
    check_config(config)
    check_config(config, vocab=7)
    assert [_about(args[0])[1:3] for args, _ in checked] == [(USUAL_VOCAB, 6), (7, 6)]
    assert _about(checked[1][0][0])[5] == "textbook"
    assert checked[1][0][1:3] == ("uniform", 5)


def test_every_form_is_checked_once(checked: list[Any]) -> None:
    """Every cell and form in each depth and kind of noise; of what is given only that."""
    assert len(list(check(None, {}))) == 4 * 3 * 3
    names = [name for name, _ in check(None, {"model.cell": "gru", "model.dropout": 0.5, "model.hidden": 3})]
    assert len(names) == len(set(names)) == 2 * 3 * 2
    assert names[0] == "1 x 3 gru (reset after), dropout 0.5 a window"
    assert {(args[0].hidden, args[0].vocab) for args, _ in checked[36:]} == {(3, 7)}


def test_what_does_not_fit_is_not_checked(checked: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that this machine has no room for is refused, with every shard counted."""
    needs = []
    monkeypatch.setattr("charlm.training.memory.machine_bytes", lambda: 1)
    monkeypatch.setattr(checking, "check_memory", lambda need, config: needs.append(need.parameters))
    for shards in (1, 4):
        check_config(_config(train__shards=shards))
    assert needs[0] < needs[1]
    config = _config(train__shards=1)
    check_config(config, vocab=7)
    for need, vocab, B, T in (
        (needs[0], USUAL_VOCAB, config.train.batch, config.train.seq_len),
        (needs[2], 7, 3, 5),
    ):
        model = build_model(config.model, vocab, "fused")
        assert need == needed(model, config.train, B, T, itemsize=8).parameters, "in float64"
    monkeypatch.undo()
    monkeypatch.setattr("charlm.training.memory.machine_bytes", lambda: 1)
    for vocab in (None, 7):
        with pytest.raises(ConfigError, match="training needs"):
            check_config(_config(), vocab=vocab)
