"""How far back gradients reach: the numbers against central differences, the places, the command."""

from __future__ import annotations

import json
import math
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from conftest import FORMS, TEXT, Run, make_model, make_window

from charlm.arrays import Array, Ids
from charlm.cli.gradient_flow import _table as drawn_table
from charlm.data.texts import Lines, Text
from charlm.inference import gradient_flow as flows
from charlm.inference.gradient_flow import GradientFlow, find_places, gradient_flow, state_gradients
from charlm.nn.gradcheck import Check, check
from charlm.nn.model import Model
from charlm.nn.parameters import Parameters, under
from charlm.report import drawing
from charlm.system.errors import CorpusError, DivergenceError
from charlm.system.team import Team

Moved = dict[tuple[int, int, str], Array]
"""What is added to a state, by layer, step and name."""


def _twin(model: Model, params: Parameters, x: Ids, y: Ids, state: Array, moved: Moved) -> float:
    """The mean loss of the streams after the last step, by the textbook steps of the cell alone.

    `moved` is added to a state of a layer at a step of the window, for all that is made of it: of h
    the layers above at this step, and the next step; of c also h of the same step.
    """
    states = [tuple(layer) for layer in state]
    for t, ids in enumerate(x):
        signal = np.eye(model.vocab)[ids]
        for layer in range(model.layers):
            own = under(params, f"layers.{layer}")
            h, *others = model.cell.step(own, signal, states[layer])[0]
            if (layer, t, "c") in moved:
                (c,) = others
                others = [c + moved[layer, t, "c"]]
                h = h / np.tanh(c) * np.tanh(others[0])  # h = o * tanh(c)
            signal = h + moved.get((layer, t, "h"), 0.0)
            states[layer] = (signal, *others)
    logits = signal @ params["output.W"] + params["output.b"]
    chosen = logits[np.arange(len(y)), y]
    return float((np.log(np.exp(logits).sum(axis=1)) - chosen).mean())


def _checks(model: Model, T: int, B: int, entries: int, back: list[int]) -> list[Check]:
    """The gradients of every state of every layer, some steps back, against central differences."""
    params, x, targets, state = make_window(model, T, B)
    params.flat *= min(1.0, 2 * model.hidden**-0.5)
    y = targets[-1]
    measured = state_gradients(model, params, x, y, state)
    names = model.cell.states
    assert measured.shape == (model.layers, len(names), T, B, model.hidden)
    moved = {
        (layer, T - 1 - k, name): np.zeros((B, model.hidden))
        for layer in range(model.layers)
        for k in back
        for name in names
    }
    called = {(layer, t, name): f"layers.{layer}.{name}, {T - 1 - t} back" for layer, t, name in moved}
    return check(
        lambda: _twin(model, params, x, y, state, moved),
        {called[place]: array for place, array in moved.items()},
        {called[layer, t, name]: measured[layer, names.index(name), t] / B for layer, t, name in moved},
        np.random.default_rng(3),
        entries,
    )


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("form", FORMS)
def test_every_entry_agrees_with_central_differences(form: str, layers: int) -> None:
    """The gradient with respect to every h and c of every layer, 0 to 4 steps back, is right to 1e-6."""
    model = make_model(form, layers)
    checks = _checks(model, T=5, B=3, entries=10**9, back=[0, 1, 4])
    assert len(checks) == 3 * layers * len(model.cell.states)
    assert [f"{one.name}: {one.worst:.1e}" for one in checks if not one.right] == []


@pytest.fixture(params=["one", "several"])
def pieces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """All places side by side in this process; or a few at a time, in two. The number of processes.

    They are warmed up for 12 units.
    """
    monkeypatch.setattr(flows, "WARM_UP", 12)
    if request.param == "one":
        return 1
    monkeypatch.setattr(flows, "_NUMBERS", 2000)
    return 2


def _alone(model: Model, params: Parameters, ids: Ids, steps: int) -> Array:
    """Norms `[L, S, K+1]` at the last place but one of a text, read alone from its first unit."""
    gradients = state_gradients(model, params, ids[:-1, None], ids[-1:], model.zero_state(1, np.float64))
    norms: Array = np.sqrt((gradients[:, :, ::-1, 0] ** 2).sum(axis=-1))[..., : steps + 1]
    return norms


@pytest.mark.parametrize("form", FORMS)
def test_the_mean_over_places_of_a_text(form: str, pieces: int) -> None:
    """The norms are the mean of those of each place alone, read after the units of warming up."""
    model = make_model(form, 2)
    params = make_window(model)[0]
    ids = np.random.default_rng(5).integers(0, model.vocab, 90).astype(np.uint8)
    before = params.flat.copy(), ids.copy()
    flow = gradient_flow(model, params, Text(ids), steps=9, places=5, team=Team(pieces))
    np.testing.assert_array_equal(params.flat, before[0], "only read")
    np.testing.assert_array_equal(ids, before[1], "only read")
    _, ends, steps = find_places(Text(ids), 9, 5)
    assert (flow.places, steps, flow.norms.shape) == (5, 9, (2, len(model.cell.states), 10))
    assert flow.states == model.cell.states
    assert ends[0] < 9 + 12, "some places must be near the beginning"
    alone = [_alone(model, params, ids[max(0, end - 21) : end + 2], 9) for end in ends.tolist()]
    np.testing.assert_allclose(flow.norms, np.mean(alone, axis=0), rtol=1e-9)
    np.testing.assert_allclose(flow.relative, flow.norms / flow.norms[:, :, :1])
    assert (flow.relative[:, :, 0] == 1).all()


def test_fifty_units_are_read_before_the_steps() -> None:
    """The state before the first step is that after 50 units from a zero state."""
    model = make_model("lstm")
    params = make_window(model)[0]
    ids = np.random.default_rng(5).integers(0, model.vocab, 300)
    flow = gradient_flow(model, params, Text(ids), steps=2, places=1)
    _, (end,), _ = find_places(Text(ids), 2, 1)
    np.testing.assert_allclose(flow.norms, _alone(model, params, ids[end - 52 : end + 2], 2), rtol=1e-12)


@pytest.mark.parametrize("form", ["lstm", "gru before"])
def test_a_line_has_nothing_before_it(form: str, pieces: int) -> None:
    """Each line begins from zero, and gradients reach no further back than its first unit."""
    lengths = [3, 12, 2, 30, 7, 19, 11]
    text = np.random.default_rng(2).integers(1, 7, 1 + sum(lengths)).astype(np.uint8)
    text[np.cumsum([0, *lengths])] = 0
    lines = Lines.of(text)
    model = make_model(form)
    params = make_window(model)[0]
    flow = gradient_flow(model, params, lines, steps=10, team=Team(pieces))
    begins, ends, _ = find_places(lines, 10, 200)
    assert flow.places == len(ends) == sum(max(0, length - 10) for length in lengths)
    assert (text[begins] == 0).all()
    alone = [
        _alone(model, params, text[max(b, e - 22) : e + 2], 10) for b, e in zip(begins, ends, strict=True)
    ]
    np.testing.assert_allclose(flow.norms, np.mean(alone, axis=0), rtol=1e-9)


@pytest.mark.parametrize(
    ("size", "steps", "reached", "count"),
    [
        (1000, 50, 50, 200),
        (100, 50, 50, 49),
        (60, 50, 39, 20),
        (10, 50, 4, 5),
        (3, 50, 1, 1),
        (2, 50, 0, 1),
    ],
)
def test_places_of_a_text(size: int, steps: int, reached: int, count: int) -> None:
    """Every place has all the steps before it; they are spread over the text; a short text has fewer."""
    begins, ends, found = find_places(Text(np.zeros(size, np.uint8)), steps, 200)
    assert (found, len(ends)) == (reached, count)
    assert (begins == 0).all()
    assert ends.min() >= reached
    assert ends.max() <= size - 2
    assert len(set(ends.tolist())) == count
    if size == 1000:  # in the middle of each of 200 equal parts of the 949 places with 50 units before them
        assert (ends.min(), ends.max()) == (52, 996)


def test_places_of_lines_whose_lengths_have_a_small_type() -> None:
    """Lines are found right where their lengths are kept in one byte, and most are too short."""
    text = np.zeros(1 + 100 * 3 + 100, np.uint8)
    text[np.r_[1:3, 301:400]] = 1
    for line in range(100):
        text[1 + 3 * line : 3 + 3 * line] = 1
    begins, ends, steps = find_places(Lines.of(text), 120, 200)
    assert steps == 80
    assert (begins == 300).all()
    assert ends.tolist() == list(range(380, 400))


def test_small_gradients_are_not_lost() -> None:
    """The network runs in float64: a gradient of 1e-60 is one, though its weights are in float32."""
    model = make_model("rnn", hidden=4)
    params = model.initialise(np.random.default_rng(1), "orthogonal")
    params["layers.0.Wh"][...] *= np.float32(1e-3)
    ids = np.random.default_rng(1).integers(0, 7, 300)
    assert 0 < gradient_flow(model, params, Text(ids), steps=20).relative[0, 0, 20] < 1e-55


def test_what_has_no_gradient_is_said() -> None:
    """A vocabulary of one has no gradient, and weights beyond all bounds none that is finite."""
    model = make_model("gru after", vocab=1)
    with pytest.raises(CorpusError, match="certainty"):
        gradient_flow(model, make_window(model)[0], Text(np.zeros(50, np.uint8)), 5)
    model = make_model("rnn")
    params = make_window(model)[0]
    for large in (1e308, 1e200):  # not a number, and a norm that is infinite
        params["output.W"][...] = large * np.array([[-1, 1, 1, 1, 1, 1, 1]])
        with pytest.raises(DivergenceError, match="not a finite number"):
            gradient_flow(model, params, Text(np.arange(50) % 7), 5)


def test_a_state_that_the_loss_does_not_read_is_relative_to_h() -> None:
    """Where the gradient of a state is zero at k = 0, it is relative to h, and finite."""
    flow = GradientFlow(("h", "m"), np.array([[[2.0, 1.0], [0.0, 1.0]]]), places=1)
    assert flow.relative.tolist() == [[[1.0, 0.5], [0.0, 0.5]]]


SMALL = """\
corpus: {path: text.txt, split: [0.6, 0.3, 0.1]}
model: {cell: lstm, hidden: 8, layers: 2}
train: {batch: 4, seq_len: 8, epochs: 1}
run: {log_every: 4, threads: 1}
"""

COMMAND = ("eval", "gradient-flow")


def _table(shown: str) -> dict[str, dict[int, tuple[float, str]]]:
    """The rows of the table: by what is measured, at each number of steps back the norm and the bar."""
    tables: dict[str, dict[int, tuple[float, str]]] = {}
    k = 0
    for line in shown.splitlines():
        if row := re.fullmatch(r"( *\d+|    ) (.*?) *(\d\.\de[-+]\d+) *([█<>]*)", line):
            k = int(row[1]) if row[1].strip() else k
            tables.setdefault(row[2].strip(), {})[k] = (float(row[3]), row[4])
    return tables


def test_the_command_before_and_after_training(charlm: Run, small: Path) -> None:
    """A trained network is not the untrained one; a table and JSON say the same; both are repeatable."""
    fresh = json.loads(charlm(*COMMAND, "--config", "small.yaml", "--json").stdout)
    charlm("train", "--config", "small.yaml")
    trained = json.loads(charlm(*COMMAND, "--json").stdout)
    for named in (("--checkpoint", "runs/small"), ("runs/small",)):
        assert charlm(*COMMAND, *named, "--json").stdout == json.dumps(trained) + "\n"
    # the configuration of a run describes its network as it was before the first update
    again = json.loads(charlm(*COMMAND, "--config", "runs/small", "--json").stdout)
    assert again == fresh | {"network": "runs/small"}
    for values in (fresh, trained):
        assert values["split"] == "validation"
        assert values["places"] == int(0.9 * len(TEXT)) - int(0.6 * len(TEXT)) - 1 - 50
        assert [layer["layer"] for layer in values["layers"]] == [0, 1]
        top = values["layers"][1]
        assert all(values[key] == top[key] for key in ("steps_back", "gradient_norm", "layer", "states"))
        for layer in values["layers"]:
            assert layer["steps_back"] == list(range(51))
            assert list(layer["states"]) == ["h", "c"]
            assert layer["states"]["h"] == layer["gradient_norm"] != layer["states"]["c"]
            for norms in layer["states"].values():
                assert norms[0] == 1.0
                assert 0 < norms[50] < norms[10] < norms[2]
    assert fresh["gradient_norm"] != trained["gradient_norm"]

    shown = charlm(*COMMAND).stdout
    assert max(map(len, shown.splitlines())) <= 79
    assert "runs/small/best.npz on text.txt: validation split" in shown
    table = _table(shown)
    assert list(table) == ["layer 0 h", "layer 0 c", "layer 1 h", "layer 1 c"]
    for what, rows in table.items():
        _, layer, state = what.split()
        norms = trained["layers"][int(layer)]["states"][state]
        assert list(rows) == [1, 2, 5, 10, 20, 50]
        assert [norm for norm, _ in rows.values()] == pytest.approx([norms[k] for k in rows], rel=0.05)
        assert [len(bar) for _, bar in rows.values()] == [
            round(4 * (math.log10(norms[k]) + 10)) for k in rows
        ]
    assert "1 x 9 gru (reset before), untrained, on text.txt" in charlm(
        *COMMAND, "--config", "small.yaml", "--set", "model.cell=gru", "--set", "model.layers=1",
        "--set", "model.hidden=9", "--set", "model.gru_reset=before",
    ).stdout  # fmt: skip


def test_several_networks_in_one_table(charlm: Run, small: Path) -> None:
    """Networks of other cells stand below each other at each k, on one axis; JSON has the object of each."""
    names = [f"a-network-with-a-long-name-{cell}.yaml" for cell in ("rnn", "lstm")]
    for name, cell in zip(names, ("rnn", "lstm"), strict=True):
        (small / name).write_text(
            SMALL.replace("cell: lstm", f"cell: {cell}").replace("layers: 2", "layers: 1")
        )
    configs = [part for name in names for part in ("--config", name)]
    alone = [json.loads(charlm(*COMMAND, "--config", name, "--json").stdout) for name in names]
    assert [one["network"] for one in alone] == names
    assert json.loads(charlm(*COMMAND, *configs, "--json").stdout) == {"runs": alone}
    shown = charlm(*COMMAND, *configs).stdout
    assert max(map(len, shown.splitlines())) <= 79
    table = _table(shown)
    assert list(table) == ["…ong-name-rnn.yaml h", "…ng-name-lstm.yaml h", "…ng-name-lstm.yaml c"]
    for name in names:
        (rows,) = (rows for what, rows in table.items() if what.endswith(f"{name[-8:]} h"))
        assert rows == _table(charlm(*COMMAND, "--config", name).stdout)["h"]


def test_the_report_shows_the_figures_of_the_command(charlm: Run, small: Path) -> None:
    """Of one checkpoint the report and the command give the same norms at the same places."""
    charlm("train", "--config", "small.yaml", "--max-steps", "2")
    values = json.loads(charlm(*COMMAND, "--json").stdout)
    charlm("report", "--out", "report.html", "--length", "50")
    section = (small / "report.html").read_text().split('id="gradient-flow"')[1].split("</section>")[0]
    figures = re.findall(r"layer (\d) (\w): ([^ ;<]+)", section.split("<figcaption")[1])
    assert figures == [
        (str(layer["layer"]), state, f"{norms[-1]:.1e}")
        for layer in values["layers"]
        for state, norms in layer["states"].items()
    ]
    assert f"mean of {values['places']} places" in section


def test_the_network_is_the_one_that_training_begins_with(charlm: Run, small: Path) -> None:
    """With a learning rate of next to nothing, training leaves the untrained network as it is."""
    arguments = ("--set", "train.lr=1e-12", "--set", "train.seed=5")
    fresh = json.loads(charlm(*COMMAND, "--config", "small.yaml", *arguments, "--json").stdout)
    charlm("train", "--config", "small.yaml", *arguments)
    trained = json.loads(charlm(*COMMAND, "--json").stdout)
    assert trained["gradient_norm"] == pytest.approx(fresh["gradient_norm"], rel=1e-5)


def test_other_texts_and_steps(charlm: Run, trained: Path) -> None:
    """--corpus is looked at as a whole, --steps says how far back, a short text is looked at less far."""
    (trained / "other.txt").write_bytes(("the quick brown fox. " * 4).encode("utf-16"))
    done = charlm(*COMMAND, "--corpus", "other.txt", "--encoding", "utf-16", "--steps", "7")
    assert "other.txt: whole text, 76 places" in done.stdout
    assert list(_table(done.stdout)["layer 0 h"]) == [1, 2, 5, 7]
    done = charlm(*COMMAND, "--corpus", "-", "--json", input="the quick brown fox.")
    assert json.loads(done.stdout)["steps_back"] == list(range(10))
    assert "9 steps back at most" in done.stderr
    assert _table(charlm(*COMMAND, "--corpus", "-", input="th").stdout)["layer 1 c"] == {0: (1.0, "█" * 40)}
    done = charlm(*COMMAND, "--config", "small.yaml", "--corpus", "-", "--steps", "3", input="ab" * 40)
    assert "standard input: validation split" in done.stdout
    (trained / "other.txt").write_bytes(("the quick brown fox. " * 40).encode("utf-16"))
    again = ("--config", "small.yaml", "--corpus", "other.txt", "--encoding", "utf-16", "--steps", "7")
    assert list(_table(charlm(*COMMAND, *again).stdout)["layer 0 h"]) == [1, 2, 5, 7]


@pytest.mark.parametrize(
    ("corpus", "text"),
    [
        ({"mode": "lines"}, "anna\nberis\ncora\n" * 30),
        ({"unit": "byte"}, "나룻배가 강을 건너왔다.\n" * 12),
        ({"normalize": "nfd"}, "나룻배가 강을 건너왔다.\n" * 12),
        ({"min_count": 3}, TEXT + "§"),
    ],
)
def test_every_kind_of_model(charlm: Run, small: Path, corpus: dict[str, object], text: str) -> None:
    """Lines, bytes, jamo and texts with unknown characters are looked at, before and after training."""
    (small / "text.txt").write_text(text)
    settings = [part for key, value in corpus.items() for part in ("--set", f"corpus.{key}={value}")]
    fresh = charlm(*COMMAND, "--config", "small.yaml", *settings, "--json")
    charlm("train", "--config", "small.yaml", *settings)
    trained = charlm(*COMMAND, "--json")
    back = 4 if "mode" in corpus else 50
    for done in (fresh, trained):
        assert json.loads(done.stdout)["steps_back"] == list(range(back + 1))
        assert ("steps back at most" in done.stderr) == (back < 50)


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--set", "model.hidden=5"], 2, ["--set", "--config"]),
        (["--config", "small.yaml", "--checkpoint", "runs/small"], 2, ["--checkpoint and --config exclude"]),
        (["--config", "empty.yaml"], 2, ["corpus.path", "--corpus"]),
        (["--config", "nowhere.yaml"], 2, ["nowhere.yaml"]),
        (["--config", "small.yaml", "--set", "model.hidden=100000000"], 2, ["model.hidden"]),
        (["--config", "small.yaml", "--set", "model.layers=1000000"], 2, ["model.layers"]),
        (["--steps", "0"], 2, ["--steps"]),
        (["--steps", "1001"], 2, ["--steps"]),
        (["--config", "small.yaml", "runs/small"], 2, ["RUN and --config exclude"]),
        (["runs/small", "nowhere"], 1, ["nowhere"]),
        (["runs/small", "runs/small", "--corpus", "-"], 2, ["--corpus - is read once"]),
        (["--corpus", "nowhere.txt"], 1, ["nowhere.txt"]),
        (["--corpus", "odd.txt"], 1, ["odd.txt", "'§'"]),
        (["--checkpoint", "nowhere.npz"], 1, ["nowhere.npz"]),
    ],
)
def test_mistakes_are_one_line(
    charlm: Run, small: Path, arguments: list[str], status: int, words: list[str]
) -> None:
    """What cannot be is one line that says what would be right."""
    (small / "odd.txt").write_text("the § fox")
    (small / "empty.yaml").write_text("model: {layers: 1}\n")
    if status == 1:
        charlm("train", "--config", "small.yaml", "--max-steps", "1")
    done = charlm(*COMMAND, *arguments, status=status)
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: ")
    assert [word for word in words if word not in line] == []
    assert done.stdout == ""


def test_what_is_beyond_the_axis_is_marked() -> None:
    """The axis does not change with the norms; one beyond it has a mark at that end, zero has no bar."""
    norms = [1.0] * 51
    for k, norm in {1: 10.0, 2: 1e-9, 5: 30.0, 10: 0.0, 20: 1e-11}.items():
        norms[k] = norm
    flow = GradientFlow(("h",), np.array([[norms]]), places=1)
    rows = _table("\n".join(drawn_table([""], [flow])))["h"]
    assert [bar for _, bar in rows.values()] == ["█" * 44, "█" * 4, "█" * 43 + ">", "", "<", "█" * 40]


def test_names_are_at_their_lines() -> None:
    """In the report each name is beside the end of its line, in the same order, and none lies on another."""
    ends = [[1e-3, 1e-2], [1.1e-3, 1e-6], [1.2e-3, 1e-30]]
    norms = np.array([[[1.0, end] for end in layer] for layer in ends])
    names = [f"layer {layer} {state}" for layer in range(3) for state in "hc"]
    picture = drawing.flow(names, norms, "")
    lines = [float(end) for end in re.findall(r',([\d.]+)" fill="none"', picture)]
    places = {name: float(y) for y, name in re.findall(r'y="([\d.]+)"[^>]*>(layer [^<]+)', picture)}
    last = dict(zip(names, norms[..., -1].flat, strict=True))
    assert sorted(names, key=places.__getitem__) == sorted(names, key=last.__getitem__, reverse=True)
    for name, end in zip(names, lines, strict=True):
        assert abs(places[name] - 4 - end) <= 40
    rising = sorted(places.values())
    assert min(after - before for before, after in pairwise(rising)) >= 17.9
    # the axis is the same whatever the norms are
    ticks = re.findall(r">(1e[-\d]+|1)<", picture)
    assert ticks == re.findall(r">(1e[-\d]+|1)<", drawing.flow(names, norms**0.1, ""))
    assert drawing.spread(np.full(30, 5.0), 0, 100) == pytest.approx(np.linspace(0, 100, 30))
