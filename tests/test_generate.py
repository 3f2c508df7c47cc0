"""How the next character is chosen, and how a text is generated."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from conftest import FORMS, make_model, make_window

from charlm.arrays import Array
from charlm.config.keys import CorpusConfig
from charlm.data.units import Units
from charlm.data.vocabulary import Vocabulary
from charlm.inference.generate import Sampling, TextSampler, generate, generate_until, streams_of
from charlm.nn.workspace import Workspace
from charlm.system.errors import ConfigError

LOGITS = np.log(np.array([0.1, 0.4, 0.2, 0.05, 0.25], np.float32))


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (Sampling(), [0.1, 0.4, 0.2, 0.05, 0.25]),
        (Sampling(temperature=0.5), np.array([1, 16, 4, 0.25, 6.25]) / 27.5),
        (Sampling(top_k=2), [0, 0.4 / 0.65, 0, 0, 0.25 / 0.65]),
        (Sampling(top_k=9), [0.1, 0.4, 0.2, 0.05, 0.25]),
        (Sampling(top_p=0.6), [0, 0.4 / 0.65, 0, 0, 0.25 / 0.65]),
        (Sampling(top_p=0.7), np.array([0, 0.4, 0.2, 0, 0.25]) / 0.85),
        (Sampling(top_p=1e-9), [0, 1, 0, 0, 0]),
        # of the three likeliest, 0.4 + 0.25 of 0.85 is 0.76
        (Sampling(top_k=3, top_p=0.75), [0, 0.4 / 0.65, 0, 0, 0.25 / 0.65]),
    ],
)
def test_probabilities(choice: Sampling, expected: list[float]) -> None:
    """Temperature, top-k and top-p shape the distribution as they say, in this order."""
    weights = choice.weights(LOGITS)
    np.testing.assert_allclose(weights / weights.sum(), expected, atol=1e-7)


@pytest.mark.parametrize(
    ("choice", "kept"),
    [
        (Sampling(top_p=0.25), 1),
        (Sampling(top_p=0.5), 2),
        (Sampling(top_p=0.75), 3),
        (Sampling(top_k=2, top_p=0.5), 1),
        (Sampling(top_k=2), 2),
    ],
)
def test_top_p_keeps_no_more_than_it_takes(choice: Sampling, kept: int) -> None:
    """Where the probabilities of some units sum to p exactly, here of equal ones, no further one is kept."""
    assert choice.weights(np.zeros(4, np.float32)).tolist() == [1.0] * kept + [0.0] * (4 - kept)


@pytest.mark.parametrize("choice", [Sampling(), Sampling(top_k=3), Sampling(temperature=2, top_p=0.9)])
def test_draws_follow_the_probabilities(choice: Sampling) -> None:
    """Over many draws, each unit comes as often as its probability says, and excluded ones never."""
    rng, draws = np.random.default_rng(0), 20_000
    counts = np.bincount([choice.draw(LOGITS, rng) for _ in range(draws)], minlength=5)
    p = choice.weights(LOGITS) / choice.weights(LOGITS).sum()
    assert (np.abs(counts - draws * p) <= 5 * np.sqrt(draws * p * (1 - p)) + 1e-9).all()


def test_greedy_takes_the_likeliest() -> None:
    """Greedy choice takes the largest logit, the first of equals, whatever the other settings."""
    rng = np.random.default_rng(0)
    model = make_model("rnn", vocab=5)
    params, nothing = model.initialise(rng, "uniform"), np.zeros(0, int)
    texts = [
        list(islice(generate(model, params, nothing, Sampling(greedy=True), np.random.default_rng(seed)), 9))
        for seed in range(9)
    ]
    assert texts == texts[:1] * 9, "also without a prime"
    assert texts[0][0] == 0, "all are as likely"
    assert Sampling(greedy=True, temperature=50).draw(LOGITS, rng) == 1
    assert Sampling(greedy=True).draw(np.zeros(3, np.float32), rng) == 0


def test_of_equals_the_first_are_kept() -> None:
    """Among many units of one probability, top-k keeps those with the lowest ids."""
    for choice in (Sampling(top_k=3), Sampling(top_p=3 / 64)):
        assert choice.weights(np.zeros(64, np.float32)).nonzero()[0].tolist() == [0, 1, 2]
    alternating = np.tile(np.array([0, 9], np.float32), 500)
    assert Sampling(top_k=3).weights(alternating).nonzero()[0].tolist() == [1, 3, 5]


@pytest.mark.parametrize("length", [1, 2, 3, 100, 101, 102, 250])
def test_a_prime_is_read_whole(length: int) -> None:
    """What is drawn from first is what the network says after every unit of the prime, however long it is."""
    model = make_model("lstm", layers=2)
    params, x, *_ = make_window(model, T=length, B=1)
    rows: list[Array] = []

    class Watched(Sampling):
        def draw(self, logits: Array, rng: np.random.Generator) -> int:
            rows.append(logits.copy())
            return 0

    next(generate(model, params, x[:, 0], Watched(), np.random.default_rng(0)))
    whole = model.forward(params, x, model.zero_state(1, np.float64), Workspace()).output
    np.testing.assert_allclose(rows[0], whole[-1, 0], rtol=0, atol=1e-12)


@pytest.mark.parametrize(("number", "drawn"), [(0.0, 1), (0.5, 3), (1.0, 3)])
def test_no_random_number_draws_what_is_excluded(number: float, drawn: int) -> None:
    """Neither 0, nor a number that rounding makes 1, is a unit without probability before or after."""

    class Fixed(np.random.Generator):
        def random(self) -> float:  # type: ignore[override]
            return number

    logits = np.array([-np.inf, 0, -np.inf, 1, -np.inf], np.float32)
    assert Sampling().draw(logits, Fixed(np.random.PCG64(0))) == drawn


def test_extreme_logits_and_temperatures() -> None:
    """Huge logits and tiny temperatures neither overflow nor draw what is impossible."""
    rng = np.random.default_rng(0)
    logits = np.array([-1e30, 1e30, 0], np.float32)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        assert {Sampling(temperature=t).draw(logits, rng) for t in (5e-324, 1e-320, 1e-8, 1.0, 1e3)} == {1}
        assert {Sampling(top_p=p).draw(logits, rng) for p in (5e-324, 1e-320)} == {1}
        assert {Sampling(temperature=1e308).draw(LOGITS, rng) for _ in range(200)} == set(range(5))


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf"), float("-inf")])
def test_impossible_settings_are_refused(value: float) -> None:
    """A temperature is a finite number above 0, and a share one of at most 1; 0 is told from the others."""
    instead = "" if value else ": `greedy=True` takes the likeliest every time"
    with pytest.raises(ConfigError, match=rf"temperature: .* is not a finite number above 0{instead}$"):
        Sampling(temperature=value)
    for share in (value, 1.5):
        with pytest.raises(ConfigError, match=r"top_p: .* is not above 0 and at most 1"):
            Sampling(top_p=share)


@pytest.mark.parametrize(("contents", "prime"), [("", ""), ("ab", "ab"), ("ab\n", "ab"), ("ab\n\n", None)])
def test_a_prime_in_a_file_may_end_in_a_line_break(contents: str, prime: str | None, tmp_path: Path) -> None:
    """A model of lines goes on with the line in the file; then it writes one line."""
    (tmp_path / "prime.txt").write_text(contents)
    vocabulary = Vocabulary([ord(character) for character in "\nab"], Units())
    model = make_model("rnn", vocab=3)
    params = model.initialise(np.random.default_rng(0), "uniform")
    sampler = TextSampler(model, params, vocabulary, writes_lines=True)
    codes = sampler.codes_of_file(tmp_path / "prime.txt", CorpusConfig(mode="lines"))
    if prime is None:
        with pytest.raises(ConfigError, match="cannot hold a line break"):
            sampler.context(codes)
        return
    assert "".join(map(chr, codes)) == prime
    drawn = list(sampler.draw(codes, 500, Sampling(), np.random.default_rng(0)))
    assert "\n" + "".join(sampler.written(drawn)) + "\n" == "\n" + "".join(map(chr, drawn))
    assert "\n" in sampler.preview(np.array([0, 1, 0]), 90, np.random.default_rng(0)), "several lines"
    assert drawn.count(ord("\n")) == 1
    assert drawn[-1] == ord("\n")
    first = {next(sampler.draw(codes, 1, Sampling(), np.random.default_rng(seed))) for seed in range(40)}
    assert (ord("\n") in first) == bool(prime), "a line may end where the prime does, but is not empty"


def test_a_preview_of_a_text_that_begins_with_the_unknown_has_no_prime() -> None:
    """`<unk>` cannot be shown, nor does anything of it: as many units are drawn as of another text."""
    vocabulary = Vocabulary(map(ord, "ab"), Units(), has_unknown=True)
    model = make_model("rnn", vocab=3)
    sampler = TextSampler(model, model.initialise(np.random.default_rng(0), "uniform"), vocabulary, False)
    ids = np.array([2, 0, 1])
    assert len(sampler.preview(ids, 9, np.random.default_rng(0))) == 9
    assert len(sampler.preview(ids[1:], 9, np.random.default_rng(0))) == 1 + 9
    assert sampler.unknown_in(sampler.codes("abcdc")) == "'c' (U+0063) 2 times, 'd' (U+0064) once"


@pytest.mark.parametrize(
    ("text", "prime", "begins_with"),
    [("ab\n", "", "\n"), ("ab", "", ""), ("ab\n", "b", "b")],
)
def test_a_text_without_a_prime_begins_a_line(text: str, prime: str, begins_with: str) -> None:
    """What is read first is a line break, if the model knows one and nothing else was given."""
    vocabulary = Vocabulary([ord(character) for character in text], Units())
    model = make_model("rnn", vocab=len(vocabulary))
    params = model.initialise(np.random.default_rng(0), "uniform")
    sampler = TextSampler(model, params, vocabulary, writes_lines=False)
    assert vocabulary.text(sampler.context(sampler.codes(prime))) == begins_with


@pytest.mark.parametrize("form", FORMS)
def test_state_is_carried_one_character_at_a_time(form: str) -> None:
    """Greedy generation equals running the network anew over everything so far at each step."""
    model = make_model(form, layers=2)
    parameters, x, _, _ = make_window(model, T=230, B=1)
    prime = x[:, 0]
    drawn = list(
        islice(generate(model, parameters, prime, Sampling(greedy=True), np.random.default_rng()), 12)
    )
    text = list(prime)
    for unit in drawn:
        window = model.forward(
            parameters, np.array(text)[:, None], model.zero_state(1, np.float64), Workspace()
        )
        logits = window.output
        assert unit == int(logits[-1, 0].argmax())
        text.append(unit)


def test_seed_decides() -> None:
    """The same seed gives the same text, another seed another; also without a prime."""
    model = make_model("lstm")
    parameters, x, _, _ = make_window(model)
    for prime in (x[:, 0], x[:0, 0]):
        texts = [
            list(islice(generate(model, parameters, prime, Sampling(), np.random.default_rng(seed)), 40))
            for seed in (1, 1, 2)
        ]
        assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize(
    ("length", "stop", "lines", "expected"),
    [
        (5, [], 0, 5),
        (0, [], 0, 0),
        (9, [2, 3], 0, 4),
        (3, [2, 3], 0, 3),
        (9, [3, 2], 0, 9),
        (9, [0], 0, 1),
        (9, [], 1, 4),
        (9, [], 2, 7),
        (9, [], 3, 9),
        (9, [1, 3], 1, 4),
    ],
)
def test_generate_until(length: int, stop: list[int], lines: int, expected: int) -> None:
    """A text ends after its length, sooner behind the stop text, or with so many line breaks."""
    ids = [0, 1, 2, 3, 4, 5, 3, 7, 8, 9, 3]
    source = iter(ids)
    written = list(generate_until(source, length, np.array(stop, int), lines, line_break=3))
    assert written == ids[:expected]
    assert next(source) == ids[expected], "nothing more is drawn"


def test_what_must_not_be_drawn_is_not() -> None:
    """`unknown` is never drawn, with a prime or without, and `not_first` not as the first unit."""
    model = make_model("rnn", vocab=3)
    parameters = model.initialise(np.random.default_rng(0), "uniform")
    firsts, later = set(), set()
    for seed in range(40):
        for prime in ([], [0]):
            ids = generate(
                model, parameters, np.array(prime, int), Sampling(), np.random.default_rng(seed), 2, 1
            )
            first, *rest = islice(ids, 6)
            firsts |= {first} if prime else set()
            later |= {first, *rest}
    assert firsts == {0}
    assert later == {0, 1}


def test_every_sample_has_random_numbers_of_its_own() -> None:
    """Samples of one seed differ from one another, and are the same whenever the seed is."""
    first, again = ([rng.random() for rng in streams_of(5, count)] for count in (3, 4))
    assert len(set(again)) == 4
    assert first == again[:3]
    assert len(list(streams_of(0, 2))) == 2
    with pytest.raises(ConfigError, match="seed: -1 is below 0"):
        streams_of(-1, 2)
