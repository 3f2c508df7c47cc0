"""What teachers say of a text, against a reader that reads it unit by unit."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import FORMS, make_model

from charlm.arrays import Array, Ids
from charlm.data.texts import Lines, Text
from charlm.inference import counts
from charlm.inference.counts import Counts
from charlm.nn.model import Model
from charlm.nn.parameters import Parameters
from charlm.nn.workspace import Workspace
from charlm.system.team import Team
from charlm.training import teachers
from charlm.training.teachers import Table, table_bytes

V = 20


def text_of(by_line: bool, size: int = 2100) -> Text:
    """Some units; of lines a break about every tenth."""
    ids = np.random.default_rng(2).integers(0, 10 if by_line else V, size).astype(np.uint8)
    ids[[0, -1]] = 0
    return Lines.of(ids) if by_line else Text(ids)


def network(form: str, seed: int) -> tuple[Model, Parameters]:
    """A network with dropout, whose parameters are drawn."""
    model = make_model(form, 2, V, 6, dropout=0.5)
    params = model.initialise(np.random.default_rng(seed), "uniform")
    params.flat *= 2
    return model, params


def naive(model: Model, params: Parameters, text: Text) -> Array:
    """The distribution at every place of the text, `[N, V]`: one unit after the other, the state carried."""
    q = np.zeros((len(text.ids), V))
    for first, length in zip(*text.examples(), strict=True):
        state = model.zero_state(1)
        for place in range(first, first + length):
            window = model.forward(params, text.ids[place : place + 1, None], state, Workspace())
            logits, state = window.output[0, 0].astype(np.float64), window.state
            q[place + 1] = np.exp(logits) / np.exp(logits).sum()
    return q


def told(table: Table, places: Ids) -> Array:
    """The mean of the probabilities that the table gives for each place, `[N, V]`."""
    soft = table.at(places)
    assert soft is not None
    q = np.zeros((*soft.ids.shape[:2], V))
    np.put_along_axis(q, soft.ids, soft.q, axis=2)
    return q.mean(axis=1)


@pytest.mark.parametrize(("form", "by_line"), [*((form, False) for form in FORMS), ("lstm", True)])
def test_a_table_is_what_its_teachers_say(form: str, by_line: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks read from a zero state, without dropout, counts without the place itself; all are averaged."""
    monkeypatch.setattr(teachers, "NAMED", V)
    monkeypatch.setattr(teachers, "_TOGETHER", 2)
    monkeypatch.setattr(counts, "_BLOCK", 300 * V)  # seven blocks
    text = text_of(by_line)
    table, networks = Table(text, V, 3, 0.25), [network(form, seed) for seed in (1, 2)]
    assert table.at(np.arange(3)) is None
    places, (first, second) = text.target_places(0, text.targets), (naive(*one, text) for one in networks)
    expected = [first[places], Counts(text, V).predict(np.arange(text.targets)), second[places]]
    for number in range(3):
        if number == 1:
            list(table.add_counts(Team(workers=2)))
        else:
            list(table.add_network(*networks[number // 2], Team(workers=2)))
        # streams that began from zero have forgotten it to 1e-5 nats, and numbers have eleven bits
        np.testing.assert_allclose(told(table, places), np.mean(expected[: number + 1], 0), atol=2e-3)
    soft = table.at(np.arange(5))
    assert soft is not None
    assert (soft.share, soft.ids.shape[1], table.teachers) == (0.25, 3, 3)


@pytest.mark.parametrize("by_line", [False, True])
def test_counts_read_what_is_trained_on(by_line: bool) -> None:
    """Of a text of which a part is trained on, that part has what the counts of the whole text say."""
    text = text_of(by_line)
    whole, part, places = Table(text, V, 1, 0.5), Table(text, V, 1, 0.5), text.target_places(0, text.targets)
    trained = np.random.default_rng(1).permutation(places)[:700]
    list(whole.add_counts())
    list(part.add_counts(trained=np.concatenate([trained, trained[:9]])))
    np.testing.assert_array_equal(told(part, trained), told(whole, trained))
    assert not part._q[np.setdiff1d(places, trained)].any()


def test_the_likeliest_units_are_kept() -> None:
    """A teacher names no more than NAMED units, the likeliest, with their probabilities."""
    text, (model, params) = text_of(False, 300), network("lstm", 1)
    table = Table(text, V, 1, 0.5)
    list(table.add_network(model, params))
    soft, full = table.at(np.arange(1, 300)), naive(model, params, text)[1:]
    assert soft is not None
    assert soft.ids.shape == (299, 1, teachers.NAMED)
    np.testing.assert_allclose(soft.q[:, 0], np.take_along_axis(full, soft.ids[:, 0], axis=1), atol=2e-3)
    for ids, q in zip(soft.ids[:, 0], full, strict=True):
        assert set(ids) == set(np.argsort(-q)[: teachers.NAMED])


@pytest.mark.parametrize(("vocab", "most"), [(5, 1), (300, 3)])
def test_the_memory_of_a_table_is_known(vocab: int, most: int) -> None:
    """What is announced is what the arrays take."""
    table = Table(Text(np.zeros(100, np.uint16)), vocab, most, 0.5)
    assert table_bytes(100, vocab, most) == table._ids.nbytes + table._q.nbytes
