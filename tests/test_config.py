from __future__ import annotations

import contextlib
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT
from hypothesis import example, given
from hypothesis import strategies as st

from charlm.config.build import build_corpus, build_pipeline
from charlm.config.keys import KEYS, PATH_KEYS, Config, CorpusConfig, Key, plain, reference
from charlm.config.reading import another, from_mapping, from_nested, load, parse_overrides
from charlm.system.errors import ConfigError

DEFAULTS = Config().flat()

every_key = pytest.mark.parametrize("dotted", list(KEYS))


def write(directory: Path, contents: str) -> Path:
    """Write a configuration file and return its path."""
    path = directory / "small.yaml"
    path.write_text(contents, encoding="utf-8")
    return path


def refusal(directory: Path, contents: str) -> str:
    """Return the message with which a configuration file is refused, without the file's name."""
    path = write(directory, contents)
    with pytest.raises(ConfigError) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message.removeprefix(str(path)).removeprefix(", ").removeprefix(": ")


def values_of(dotted: str) -> st.SearchStrategy[Any]:
    """Return a strategy for the values that a key takes, made from its declared limits."""
    key, default = KEYS[dotted], DEFAULTS[dotted]
    if key.choices:
        return st.sampled_from(list(key.choices))
    if isinstance(default, tuple):
        cuts = st.tuples(st.integers(1, 100), st.integers(0, 100)).map(lambda two: (two[0], sum(two)))
        return cuts.filter(lambda two: two[1] <= 100).map(
            lambda two: (two[0] / 100, (two[1] - two[0]) / 100, (100 - two[1]) / 100)
        )
    if isinstance(default, bool):
        return st.booleans()
    if dotted == "corpus.encoding":
        return st.sampled_from(["utf-8", "utf-16", "iso8859-1", "cp949"])
    if isinstance(default, str):
        # odd characters, and words that YAML reads as other types; only an absolute path stays unchanged
        words = st.one_of(
            st.text(min_size=1), st.sampled_from(["yes", "null", "1e3", "0.5", "a: b", "#", "2024-01-05"])
        )
        words = words.map(lambda word: re.sub("[\0\ud800-\udfff]", "_", word))
        if dotted in PATH_KEYS:
            words = words.map(lambda word: f"/{word}")
            return st.one_of(words, st.lists(words, min_size=1).map(tuple))
        return words
    low, high = max(key.at_least, key.above), min(key.at_most, key.below)
    if isinstance(default, int):
        return st.integers(int(low), int(min(high, 10**9)))
    return st.floats(
        low,
        min(high, 1e300),
        exclude_min=key.above == low,
        exclude_max=key.below == high,
    )


@st.composite
def configurations(draw: st.DrawFn) -> Config:
    """Configurations with any value of any key."""
    values = {dotted: draw(values_of(dotted)) for dotted in KEYS}
    if values["corpus.unit"] == "byte":  # the one value that excludes others
        values |= {"corpus.normalize": "none", "corpus.lowercase": False, "corpus.encoding": "utf-8"}
    return Config().replace(values)


@every_key
def test_every_key_says_what_it_means(dotted: str) -> None:
    """A key has a meaning of its own, on one line, and is in the reference with its default."""
    doc = KEYS[dotted].doc
    assert doc.strip() == doc != ""
    assert "\n" not in doc
    assert [other for other, key in KEYS.items() if key.doc == doc] == [dotted]
    (line,) = [line for line in reference(10_000).split("\n") if line.startswith(f"  {dotted}=")]
    assert line.startswith(f"  {dotted}={plain(DEFAULTS[dotted])}")
    if DEFAULTS[dotted] != "":  # what is shown can be typed
        assert parse_overrides([f"{dotted}={plain(DEFAULTS[dotted])}"]) == {dotted: DEFAULTS[dotted]}
    assert line.endswith(f": {doc}")
    assert all(choice in line for choice in KEYS[dotted].choices)


@every_key
def test_defaults_are_valid(dotted: str) -> None:
    """Every default is within the limits of its own key, and of the type that the key takes."""
    default = DEFAULTS[dotted]
    section, name = dotted.split(".")
    plain = list(default) if isinstance(default, tuple) else default
    again = from_nested({section: {name: plain}}, "it").flat()[dotted]
    assert again == default or dotted == "run.dir"
    assert type(again) is type(default)


@given(config=configurations())
@example(config=Config(corpus=CorpusConfig(path="/line\x85break")).replace({"run.dir": "run"}))
@example(config=Config(corpus=CorpusConfig(test=("/line\x85break",))).replace({"run.dir": "run"}))
def test_a_written_configuration_reads_back_the_same(
    tmp_path_factory: pytest.TempPathFactory, config: Config
) -> None:
    """Whatever the values, `load` undoes `to_yaml`, and `from_nested` undoes `nested`, through JSON too."""
    path = write(tmp_path_factory.getbasetemp(), config.to_commented_yaml())
    assert load(path) == config
    assert from_nested(config.nested(), "it") == config
    assert from_nested(json.loads(json.dumps(config.nested())), "it") == config


def test_a_written_configuration_is_for_people_too() -> None:
    """The file holds every key in the order of the reference, and characters instead of their escapes."""
    written = Config().replace({"corpus.path": "/보기/é.txt"}).to_commented_yaml()
    read = yaml.safe_load(written)
    assert [f"{section}.{name}" for section, names in read.items() for name in names] == list(KEYS)
    assert "/보기/é.txt" in written
    assert "or lines, each a separate example that begins from a zero state (stream |\n" in written


@pytest.mark.parametrize(
    ("nested", "message"),
    [
        (None, "model.json: the configuration is not a mapping"),
        ([1], "model.json: the configuration is not a mapping"),
        ({"model": 3}, "model.json: model is not a section of keys"),
        ({"model": {"hiden": 3}}, "model.json: model.hiden: unknown key; did you mean model.hidden?"),
        ({"model": {"hidden": "big"}}, "model.json: model.hidden: expected a whole number, got 'big'"),
        (
            {"corpus": {"split": [0.5, 0.1, 0.1]}},
            "model.json: corpus.split: the fractions sum to 0.7, not to 1",
        ),
    ],
)
def test_plain_values_are_checked(nested: Any, message: str) -> None:
    """What does not come from `nested` is an error that names the file and the key."""
    with pytest.raises(ConfigError) as caught:
        from_nested(nested, "model.json")
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "contents", ["", "# nothing\n", "model:\n", "model:\n  # hidden: 3\ntrain: ~\n", "{}"]
)
def test_what_is_left_out_has_its_default(tmp_path: Path, contents: str) -> None:
    """A file, a section or a key that says nothing means the defaults."""
    assert load(write(tmp_path, contents)) == Config().replace({"run.dir": str(Path("runs/small"))})


def test_values_of_every_kind_are_read(tmp_path: Path) -> None:
    """Texts, whole numbers, numbers and lists are read as such, and the others keep their defaults."""
    path = write(tmp_path, "model: {cell: gru, hidden: 3}\ntrain:\n  lr: 1\ncorpus:\n  split: [1, 0, 0]\n")
    read = load(path).flat()
    expected = {"model.cell": "gru", "model.hidden": 3, "train.lr": 1.0, "corpus.split": (1.0, 0.0, 0.0)}
    assert read == DEFAULTS | expected | {"run.dir": str(Path("runs/small"))}
    assert isinstance(read["train.lr"], float)
    assert {type(share) for share in read["corpus.split"]} == {float}


@pytest.mark.parametrize(
    ("dotted", "written", "number"),
    [("train.lr", "1e-3", 0.001), ("train.lr", "1E2", 100.0), ("train.lr", ".5", 0.5), ("train.lr", "2", 2.0),
     ("train.lr", "'0.25'", 0.25), ("train.lr", "+3e+0", 3.0), ("model.hidden", "1e3", 1000),
     ("model.hidden", "64.0", 64), ("model.hidden", "'7'", 7)],
)  # fmt: skip
def test_numbers_are_read_as_written(tmp_path: Path, dotted: str, written: str, number: float) -> None:
    """`1e-3` is a number, though YAML 1.1 takes it for a text; a whole number may have any form."""
    section, name = dotted.split(".")
    for value in (
        load(write(tmp_path, f"{section}:\n  {name}: {written}\n")).flat()[dotted],
        parse_overrides([f"{dotted}={written}"])[dotted],
    ):
        assert (value, type(value)) == (number, type(number))


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ("# one\nmodel:\n  hiden: 3\n", "line 3: model.hiden: unknown key; did you mean model.hidden?"),
        ("train:\n  lr: 1\n  zzzzzzzzzzzz: 2\n", "line 3: train.zzzzzzzzzzzz: unknown key"),
        ("\n\nmodle:\n  hidden: 3\n", "line 3: modle: unknown section; did you mean model?"),
        ("hidden: 3\n", "line 1: hidden: unknown section; the sections are corpus, model, train, run"),
        ("model:\n  hidden: 3\n  cell: rnn\n  hidden: 4\n", "line 4: model.hidden: duplicate key"),
        ("model: {hidden: 3}\ntrain:\nmodel: {layers: 3}\n", "line 3: model: duplicate section"),
        ("model:\n  hidden: !!bool maybe\n", "line 2: model.hidden: the value cannot be read"),
        ("model:\n  hidden: !!int ''\n", "line 2: model.hidden: the value cannot be read"),
        ("model:\n  hidden: !!timestamp foo\n", "line 2: model.hidden: the value cannot be read"),
        ('corpus:\n  path: "a\\0b"\n', "line 2: corpus.path: a text must not contain a NUL character"),
        ("model:\n  hidden: 3\x01\n", "line 2: not valid YAML: a character that YAML does not allow"),
        ("- model\n", "line 1: the file must hold keys with values, such as `hidden: 256`"),
        ("hello\n", "line 1: the file must hold keys with values, such as `hidden: 256`"),
        ("train:\n  lr: 1\nmodel: 3\n", "line 3: model must hold keys with values, such as `hidden: 256`"),
        ("model:\n- 3\n", "line 2: model must hold keys with values, such as `hidden: 256`"),
        ("model:\n  ? [a]\n  : 3\n", "line 2: a key must be a plain word"),
        ("model:\n  hidden: [3\ntrain:\n", "line 3: not valid YAML: "),
        ("model:\n\thidden: 3\n", "line 2: not valid YAML: "),
        ("model:\n  cell: 'rnn\n", "line 3: not valid YAML: "),
        ("model:\n---\nmodel:\n", "line 2: not valid YAML: but found another document"),
        ("model:\n  hidden: !!python/name:os.system\n", "line 2: model.hidden: the value cannot be read"),
        ("run:\n  dir: 2024-02-30\n", "line 2: run.dir: the value cannot be read; put it in quotes"),
        ('run:\n  dir: "a\\ud800"\n', "line 2: run.dir: a text must not contain a lone surrogate"),
    ],
)  # fmt: skip
def test_a_file_that_makes_no_sense_is_refused(tmp_path: Path, contents: str, message: str) -> None:
    """The error names the file, the line, the key, and the nearest thing that would have been right."""
    assert refusal(tmp_path, contents).startswith(message)
    if not message.endswith(": "):  # the words that follow are the YAML library's
        assert refusal(tmp_path, contents) == message


def test_the_nearest_key_is_one_that_exists(tmp_path: Path) -> None:
    """Every suggestion for a mistyped key is that key."""
    for dotted in KEYS:
        section, name = dotted.split(".")
        mistyped = f"{name}_" if f"{dotted}_" not in KEYS else f"{name}x"
        message = refusal(tmp_path, f"{section}:\n  {mistyped}: 1\n")
        assert message == f"line 2: {section}.{mistyped}: unknown key; did you mean {dotted}?"


@pytest.mark.parametrize(
    ("dotted", "written", "message"),
    [
        ("model.hidden", "many", "expected a whole number, got 'many'"),
        ("model.hidden", "2.5", "expected a whole number, got 2.5"),
        ("model.hidden", "1e-3", "expected a whole number, got '1e-3'"),
        ("model.hidden", "1e999", "expected a whole number, got '1e999'"),
        ("model.hidden", ".inf", "expected a whole number, got inf"),
        ("model.hidden", ".nan", "expected a whole number, got nan"),
        ("model.hidden", "true", "expected a whole number, got true"),
        ("model.hidden", "[3]", "expected a whole number, got [3]"),
        ("model.hidden", "~", "expected a whole number, got nothing"),
        ("train.lr", "fast", "expected a number, got 'fast'"),
        ("train.lr", "yes", "expected a number, got true"),
        ("train.lr", "", "expected a number, got nothing"),
        ("train.lr", "{a: 1}", "expected a number, got {'a': 1}"),
        ("train.lr", "9" * 400, "the number is too large"),
        ("train.seed", "9" * 400, "the number is too large"),
        ("corpus.path", "5", "expected a text, but YAML reads 5 as 5: put it in quotes"),
        ("corpus.path", "010", "expected a text, but YAML reads 010 as 8: put it in quotes"),
        ("model.cell", "yes", "expected a text, but YAML reads yes as true: put it in quotes"),
        ("run.dir", "2026-11-26",
         "expected a text, but YAML reads 2026-11-26 as the date 2026-11-26: put it in quotes"),
        ("train.seq_len", "1:30", "YAML reads 1:30 as a number in base 60: "
         "write it in decimal digits, without zeros before it"),
        ("train.lr", "0:00.5", "YAML reads 0:00.5 as a number in base 60: "
         "write it in decimal digits, without zeros before it"),
        ("model.hidden", "010", "YAML reads 010 as a number in base 8: "
         "write it in decimal digits, without zeros before it"),
        ("corpus.split", "[01, 0, 0]", "YAML reads 01 as a number in base 8: "
         "write it in decimal digits, without zeros before it"),
        ("model.layers", "100000", "100000 is above 1,000, the largest valid value"),
        ("model.hidden", "99999999999999999999",
         "99999999999999999999 is above 10,000,000, the largest valid value"),
        ("train.epochs", "1e300", "1e+300 is above 1,000,000, the largest valid value"),
        ("run.sample_length", "100000000", "100000000 is above 1,000,000, the largest valid value"),
        ("corpus.path", "", "expected a text, got nothing ('' is an empty text)"),
        ("model.cell", "[lstm]", "expected a text, got ['lstm']"),
        ("corpus.split", "0.9", "expected a list of 3 numbers, such as [0.9, 0.05, 0.05]; got 0.9"),
        ("corpus.split", "0.9,0.1,0",
         "expected a list of 3 numbers, such as [0.9, 0.05, 0.05]; got '0.9,0.1,0'"),
        ("corpus.split", "[0.9, 0.1]",
         "expected a list of 3 numbers, such as [0.9, 0.05, 0.05]; got [0.9, 0.1]"),
        ("corpus.split", "[a, 0, 0]", "expected a number, got 'a'"),
        ("corpus.split", "[1, false, 0]", "expected a number, got false"),
        ("model.cell", "gruu", "'gruu' is not one of rnn, lstm, gru; did you mean gru?"),
        ("model.cell", "transformer", "'transformer' is not one of rnn, lstm, gru"),
        ("corpus.unit", "bytes", "'bytes' is not one of char, byte; did you mean byte?"),
        ("model.hidden", "0", "0 is below 1, the smallest valid value"),
        ("train.warmup", "-1", "-1 is below 0, the smallest valid value"),
        ("train.clip_norm", "-0.1", "-0.1 is below 0, the smallest valid value"),
        ("train.lr", "0", "0.0 is not above 0"),
        ("run.eval_every", "-1", "-1.0 is not above 0"),
        ("train.lr_final", "1.5", "1.5 is above 1, the largest valid value"),
        ("train.lr_decay", "1.01", "1.01 is above 1, the largest valid value"),
        ("model.dropout", "1", "1.0 is not below 1"),
        ("train.beta2", "1.5", "1.5 is not below 1"),
        ("train.epochs", ".inf", "inf is not a finite number"),
        ("train.lr", ".nan", "nan is not a finite number"),
        ("train.lr", "1e999", "inf is not a finite number"),
        ("corpus.split", "[1.5, -0.5, 0]", "1.5 is above 1, the largest valid value"),
        ("corpus.split", "[1, 0, -0.5]", "-0.5 is below 0, the smallest valid value"),
        ("corpus.split", "[1, 0, .nan]", "nan is not a finite number"),
    ],
)  # fmt: skip
def test_an_invalid_value_is_refused(tmp_path: Path, dotted: str, written: str, message: str) -> None:
    """The error names the expected type or the broken limit, in a file and in `--set` alike."""
    section, name = dotted.split(".")
    assert refusal(tmp_path, f"{section}:\n\n  {name}: {written}\n") == f"line 3: {dotted}: {message}"
    with pytest.raises(ConfigError) as caught:
        parse_overrides([f"{dotted}={written}"])
    assert str(caught.value) == f"`set` {dotted}={written}: {dotted}: {message}"


def _is_valid(key: Key, value: Any) -> bool:
    try:
        return bool(key.valid(value) == value)
    except ValueError:
        return False


@pytest.mark.parametrize(
    ("key", "fitting", "breaking"),
    [
        (Key(0.0, "", at_least=1), [1, 2, 1.0], [0, 0.999, -5]),
        (Key(0.0, "", above=0), [1e-300, 1], [0, 0.0, -1]),
        (Key(0.0, "", at_most=1), [1, 1.0, -7], [2, 1.001]),
        (Key(0.0, "", below=1), [0.999, 0], [1, 1.0, 2]),
        (Key(0.0, ""), [0, -1e300], [float("inf"), float("-inf"), float("nan")]),
        (Key((0, 0, 0), "", at_least=0, at_most=1), [(0, 1, 0.5)],
         [(0, 1, 2), (-1, 0, 0), (0, 0, float("nan"))]),
        (Key("", "", choices=("one", "two")), ["one", "two"], ["three", "", "One"]),
    ],
    ids=["at_least", "above", "at_most", "below", "finite", "lists", "choices"],
)  # fmt: skip
def test_limits_hold_exactly_at_their_edges(key: Key, fitting: list[Any], breaking: list[Any]) -> None:
    """`at_least` and `at_most` take the limit itself, `above` and `below` do not."""
    assert [value for value in fitting if not _is_valid(key, value)] == []
    assert [value for value in breaking if _is_valid(key, value)] == []


@pytest.mark.parametrize(
    ("corpus", "message"),
    [
        ("split: [0.5, 0.3, 0.1]", "line 2: corpus.split: the fractions sum to 0.9, not to 1"),
        ("split: [0.9, 0.1, 0.1]", "line 2: corpus.split: the fractions sum to 1.1, not to 1"),
        ("split: [0.9, 0.05, 0.055]", "line 2: corpus.split: the fractions sum to 1.005, not to 1"),
        ("split: [0, 0, 0]", "line 2: corpus.split: the fractions sum to 0, not to 1"),
        ("split: [0, 0.5, 0.5]", "line 2: corpus.split: the first fraction, for training, must be above 0"),
        ("{unit: byte, normalize: nfc}",
         "line 2: corpus.normalize: not with unit: byte; remove it, or use unit: char"),
        ("validation: '-'",
         "line 2: corpus.validation: name a file: standard input, -, is only for corpus.path"),
        ("test: [a.txt, '-']",
         "line 2: corpus.test: name a file: standard input, -, is only for corpus.path"),
    ],
)  # fmt: skip
def test_values_that_do_not_fit_together_are_refused(tmp_path: Path, corpus: str, message: str) -> None:
    """A split that is not a whole, nothing to train on, normalised bytes, a pipe to validate: errors."""
    assert refusal(tmp_path, f"corpus:\n  {corpus}\n") == message


def test_an_override_can_break_what_fitted_together(tmp_path: Path) -> None:
    """Values are checked together after the overrides, and what is wrong is looked for where it was set."""
    path = write(tmp_path, "corpus:\n  normalize: nfd\n")
    with pytest.raises(
        ConfigError, match=r"yaml, line 2: corpus.normalize: not with unit: byte \(`set`\); remove it"
    ):
        load(path, parse_overrides(["corpus.unit=byte"]))
    for override, message in (
        ("corpus.split=[1, 1, 0]", "`set`: corpus.split: the fractions sum to 2"),
        ("corpus.encoding=utf9", "`set`: corpus.encoding: 'utf9' is not"),
    ):
        with pytest.raises(ConfigError) as caught:
            load(path, parse_overrides([override]))
        assert str(caught.value).startswith(message)
    assert load(path, parse_overrides(["corpus.unit=byte", "corpus.normalize=none"])).corpus.unit == "byte"


@pytest.mark.parametrize(
    "split", [(0.7, 0.1, 0.2), (0.1, 0.2, 0.7), (1 / 3, 1 / 3, 1 / 3), (0.3333333,) * 3, (1, 0, 0)]
)
def test_rounding_does_not_spoil_a_split(tmp_path: Path, split: tuple[float, float, float]) -> None:
    """Parts that sum to 1 but for rounding are taken as they are."""
    path = write(tmp_path, f"corpus:\n  split: {list(split)}\n")
    assert load(path).corpus.split == split


@pytest.mark.parametrize(
    ("overrides", "found"),
    [
        ([], "{0}/texts/a.txt"),
        (["KEY=texts/b.txt"], "{0}/texts/b.txt"),
        (["KEY=[./b.txt, /c.txt, 'd/*.txt']"], ("{0}/b.txt", "/c.txt", "{0}/d/*.txt")),
    ],
    ids=["beside the file", "where one is", "several"],
)
@pytest.mark.parametrize("dotted", PATH_KEYS)
def test_a_relative_text_is_looked_for_where_it_was_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    dotted: str,
    overrides: list[str],
    found: str | tuple[str, ...],
) -> None:
    """A relative text in a file is relative to it; one on the command line, to where one is."""
    (tmp_path / "configs").mkdir()
    section, name = dotted.split(".")
    write(tmp_path / "configs", f"{section}:\n  {name}: ../texts/a.txt\n")
    monkeypatch.chdir(tmp_path)
    wanted = found.format(tmp_path) if isinstance(found, str) else tuple(p.format(tmp_path) for p in found)
    values = parse_overrides(override.replace("KEY", dotted) for override in overrides)
    assert load(Path("configs/small.yaml"), values).flat()[dotted] == wanted


@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_standard_input_is_no_directory(tmp_path: Path, name: str) -> None:
    """`-` among the paths of a text is standard input, wherever the file lies."""
    path = write(tmp_path, f"corpus: {{path: [a.txt, {name}]}}\n")
    assert load(path).corpus.paths == (f"{tmp_path}/a.txt", "-")


@pytest.mark.parametrize("how", ["file", "given", "mapping", "option"])
def test_a_tilde_is_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """`~` before a path is the home directory, in every key of a path and wherever it is written."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    written: dict[str, Any] = dict.fromkeys(PATH_KEYS, "~/a.txt")
    written |= {"corpus.test": ("~", "b~.txt", "~/c/*.txt"), "run.dir": "~/runs/a"}
    home = str(tmp_path / "home")
    wanted: dict[str, Any] = dict.fromkeys(PATH_KEYS, f"{home}/a.txt")
    wanted |= {"corpus.test": (home, f"{tmp_path}/b~.txt", f"{home}/c/*.txt"), "run.dir": f"{home}/runs/a"}
    monkeypatch.chdir(tmp_path)
    if how == "option":
        assert another(Config().corpus, "~/a.txt").path == f"{home}/a.txt"
        monkeypatch.setenv("HOME", str(tmp_path))
        path = write(tmp_path, "model: {layers: 1}\n")
        assert load(Path("~") / path.name).model.layers == 1
        return
    nested = Config().replace(written).nested()
    if how == "file":
        found = load(write(tmp_path, yaml.safe_dump(nested)))
    elif how == "given":
        found = load(write(tmp_path, ""), written)
    else:
        found = from_mapping(nested)
    assert {dotted: found.flat()[dotted] for dotted in wanted} == wanted


def test_a_configuration_from_a_pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A configuration from `<(…)` lies nowhere: its texts are relative to the current directory."""
    monkeypatch.chdir(tmp_path)
    read, write = os.pipe()
    os.write(write, b"corpus: {path: texts/a.txt}\n")
    os.close(write)
    config = load(Path(f"/dev/fd/{read}"))
    os.close(read)
    assert (config.corpus.path, config.run.dir) == (f"{tmp_path}/texts/a.txt", "runs/a")


def test_separate_texts_are_listed() -> None:
    """The paths of the splits that have a separate text are found by the split's name."""
    assert CorpusConfig(path="/a", test=("/c", "/d")).separate_paths == {"test": ("/c", "/d")}
    assert CorpusConfig(path="/a", validation="/b").separate_paths == {"validation": ("/b",)}
    assert CorpusConfig().separate_paths == {}


@pytest.mark.parametrize(("typed", "known"), [("UTF8", "utf-8"), ("utf-8-sig", "utf-8"), ("l1", "iso8859-1")])
def test_an_encoding_has_one_name(tmp_path: Path, typed: str, known: str) -> None:
    """However an encoding is written, it is kept by one name, so that a run can be resumed."""
    assert load(write(tmp_path, f"corpus: {{encoding: {typed}}}\n")).corpus.encoding == known


@pytest.mark.parametrize("paths", ["[]", "['']", "[a.txt, '']"])
def test_a_list_of_texts_holds_paths(tmp_path: Path, paths: str) -> None:
    """An empty list, or an empty path in one, is refused: it would mean a whole directory."""
    assert "expected a path, or a list of paths" in refusal(tmp_path, f"corpus:\n  path: {paths}\n")


@pytest.mark.parametrize("written", ["{0}/a.txt", "{0}/../a.txt"])
def test_an_absolute_path_stays_as_it_is(tmp_path: Path, written: str) -> None:
    """An absolute `corpus.path` does not depend on where the file lies."""
    absolute = written.format(tmp_path)
    assert load(write(tmp_path, f"corpus:\n  path: {absolute}\n")).corpus.path == absolute


@pytest.mark.parametrize(
    ("contents", "overrides", "directory"),
    [
        ("", [], Path("runs/small")),
        ("corpus: {unit: byte, test: other.txt}\n", [], Path("runs/small")),
        ("run:\n  dir: ''\n", [], Path("runs/small")),
        ("run:\n  dir: kept/here\n", [], Path("kept/here")),
        ("run:\n  dir: kept/here\n", ["run.dir=there"], Path("there")),
        ("", ["run.dir=there"], Path("there")),
    ],
)
def test_runs_are_kept_by_the_name_of_the_file(
    tmp_path: Path, contents: str, overrides: list[str], directory: Path
) -> None:
    """`run.dir` is as given, relative to where one is; left out, it is the file's own name under runs."""
    assert Path(load(write(tmp_path, contents), parse_overrides(overrides)).run.dir) == directory


@pytest.mark.parametrize(
    ("overrides", "values"),
    [
        ([], {}),
        (["model.hidden=64"], {"model.hidden": 64}),
        ([" model.hidden = 64 "], {"model.hidden": 64}),
        (["model.hidden=64", "model.hidden=32"], {"model.hidden": 32}),
        (["corpus.split=[0.8, 0.1, 0.1]"], {"corpus.split": (0.8, 0.1, 0.1)}),
        (["corpus.split=[1,0,0]"], {"corpus.split": (1.0, 0.0, 0.0)}),
        (["corpus.path=a=b.txt", "train.lr=1e-2"], {"corpus.path": "a=b.txt", "train.lr": 0.01}),
        (["corpus.path='null'"], {"corpus.path": "null"}),
    ],
)
def test_overrides_are_read_like_values_of_the_file(overrides: list[str], values: dict[str, Any]) -> None:
    """`KEY=VALUE` is split at the first sign, its value is YAML, and the last of two holds."""
    assert parse_overrides(overrides) == values


def test_overrides_win_over_the_file(tmp_path: Path) -> None:
    """What `--set` says replaces what the file says, and that alone."""
    path = write(tmp_path, "model:\n  hidden: 3\n  layers: 5\n")
    model = load(path, parse_overrides(["model.hidden=4"])).model
    assert (model.hidden, model.layers) == (4, 5)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("run.dir=2024-02-30", "run.dir: the value cannot be read; put it in quotes"),
        ("model.hidden=0b_", "model.hidden: the value cannot be read"),
        ("model.hidden", "expected KEY=VALUE, such as model.hidden=256"),
        ("", "expected KEY=VALUE, such as model.hidden=256"),
        ("model.hiden=3", "model.hiden: unknown key; did you mean model.hidden?"),
        ("modle.hidden=3", "modle.hidden: unknown key; did you mean model.hidden?"),
        ("zzz=3", "zzz: unknown key"),
        ("=3", ": unknown key"),
        ("corpus.split=[0.9, 0.1", "the value is not YAML"),
        ("model.cell='rnn", "the value is not YAML"),
    ],
)
def test_an_override_that_makes_no_sense_is_refused(override: str, message: str) -> None:
    """The error repeats the option and says what would have been right."""
    with pytest.raises(ConfigError) as caught:
        parse_overrides([override])
    assert str(caught.value) == f"`set` {override}: {message}"


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (None, "configuration {} cannot be read: no such file or directory"),
        (b"model:\n  cell: caf\xe9\n", "configuration {} is not UTF-8: byte 18 (line 2); save it as UTF-8"),
        (b"\xff\xfea", "configuration {} is not UTF-16: byte 2 (line 1); save it as UTF-8"),
    ],
    ids=["missing", "not UTF-8", "half of UTF-16"],
)
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, contents: bytes | None, message: str) -> None:
    """The error names the file and the cause."""
    path = tmp_path / "small.yaml"
    if contents is not None:
        path.write_bytes(contents)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(caught.value) == message.format(path)


def test_a_directory_means_the_configuration_in_it(tmp_path: Path) -> None:
    """A run directory is its config.yaml; a directory without one is an error that says so."""
    with pytest.raises(ConfigError) as caught:
        load(tmp_path)
    missing = tmp_path / "config.yaml"
    assert str(caught.value) == f"configuration {tmp_path} is a directory without config.yaml"
    missing.write_text("model:\n  hidden: 7\n")
    assert load(tmp_path).model.hidden == 7
    (tmp_path / "last.npz").touch()  # of a run, which is kept where it is unless another place is given
    assert load(tmp_path).run.dir == str(tmp_path)
    assert load(tmp_path, parse_overrides(["run.dir=there"])).run.dir == "there"


@pytest.mark.parametrize(
    ("encoding", "line_end"),
    [("utf-8", "\n"), ("utf-8-sig", "\r\n"), ("utf-16", "\r\n"), ("utf-16-be", "\n")],
)
def test_a_file_is_read_as_unicode(tmp_path: Path, encoding: str, line_end: str) -> None:
    """Names outside ASCII are read right, whatever the locale: UTF-8, or UTF-16 as PowerShell writes it."""
    text = line_end.join(["corpus:", "  path: 보기/é.txt", "model:", "  hiden: 7", ""])
    path = tmp_path / "small.yaml"
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    path.write_bytes((mark + text).encode(encoding))
    with pytest.raises(ConfigError, match=r"small\.yaml, line 4: model\.hiden: unknown key; did you mean"):
        load(path)
    path.write_bytes((mark + text.replace("hiden", "hidden")).encode(encoding))
    assert load(path).corpus.path == str(tmp_path / "보기" / "é.txt")


def test_what_was_given_is_known(tmp_path: Path) -> None:
    """A key that a file or a setting names was given, whatever its value; one that is chosen was not."""
    (tmp_path / "a.yaml").write_text("model: {hidden: 256}\ncorpus:\n  path: a.txt")
    config = load(tmp_path / "a.yaml", parse_overrides(["train.lr=0.002"]))
    assert config.given == {"model.hidden", "corpus.path", "train.lr"}
    assert from_mapping({"model": {"layers": 2}}, {"run.threads": 0}).given == {"model.layers", "run.threads"}
    chosen = config.replace({"train.batch": 8}).choose({"model.hidden": 8, "model.layers": 3})
    assert chosen.given == config.given
    assert (chosen.model.hidden, chosen.model.layers, chosen.train.batch) == (256, 3, 8)
    assert config.give({"train.batch": 50}).given == {*config.given, "train.batch"}
    assert config == Config().replace({"corpus.path": config.corpus.path, "run.dir": config.run.dir})
    assert Config().flat() == DEFAULTS


_PIECES = st.sampled_from(
    ["[", "{", "}", "]", "&a ", "*a", "!!python/object:os.system", "!!int ", "!!binary x", ": ", "- ", "\n",
     "  ", "'", '"', "|", "? ", "<<: *a", ".nan", "1e400", "0x", "1:30", "2001-01-01", "%YAML 9.9\n", "---\n",
     "...\n", "\t", "\ufeff", "\x85", "~", "null", "[1, 2, 3]", "\\ud800", "\\0", "9" * 5000]
)  # fmt: skip


def _refused_or_read(path: Path, contents: str) -> None:
    path.write_text(contents, encoding="utf-8", errors="replace")
    with contextlib.suppress(ConfigError):
        load(path)
    with contextlib.suppress(ConfigError):
        parse_overrides([contents])


@given(data=st.data())
def test_whatever_a_file_holds_is_read_or_refused(tmp_path_factory: Any, data: st.DataObject) -> None:
    """A configuration with pieces of YAML thrown into it is read, or refused; there is no traceback."""
    text = list((ROOT / "configs" / "tales.yaml").read_text())
    for position, piece in data.draw(st.lists(st.tuples(st.integers(0, len(text) - 1), _PIECES), max_size=6)):
        text[position] = piece
    _refused_or_read(tmp_path_factory.getbasetemp() / "pieces.yaml", "".join(text))


@pytest.mark.parametrize(
    "contents",
    ["[" * 1000, "{a: " * 1000, "a: &a [*a]", "model: &x {hidden: *x}", "model: {hidden: [" + "[" * 900],
)
def test_endless_files_are_refused(tmp_path: Path, contents: str) -> None:
    """Brackets without end, and structures that hold themselves, are one line too."""
    _refused_or_read(tmp_path / "endless.yaml", contents)
    with pytest.raises(ConfigError):
        load(tmp_path / "endless.yaml")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("my.txt", "my"),
        ("books", "books"),
        ("/texts/*.txt", "texts"),
        ("-", "text"),
        ("/*/*", "text"),
        ("/dev/fd/63", "text"),
        (["a.txt", "b.txt"], "a"),
    ],
)
def test_a_run_is_called_like_its_text(path: Any, name: str) -> None:
    """Without a configuration file the directory has the name of the text, which can be typed."""
    assert from_mapping({"corpus": {"path": path}}).run.dir == str(Path("runs") / name)


@pytest.mark.parametrize(("unit", "encoding"), [("char", "cp1252"), ("byte", "utf-8")])
def test_another_text_is_read_in_an_encoding(unit: str, encoding: str) -> None:
    """A given encoding is that of characters; bytes have none. Separate texts are not those of the other."""
    config = CorpusConfig(path="a.txt", validation="b.txt", test="c.txt", unit=unit, lowercase=unit == "char")
    other = another(config, Path("d.txt"), "windows-1252")
    assert other is not None
    assert (other.encoding, other.unit, other.lowercase) == (encoding, unit, config.lowercase)
    assert (other.path, other.validation, other.test) == (str(Path.cwd() / "d.txt"), "", "")
    assert another(config, None) is None
    with pytest.raises(ConfigError, match=r"`encoding` has no effect on the model.s own text"):
        another(config, None, "utf-8")


@pytest.mark.parametrize(("mode", "newlines"), [("stream", "keep"), ("lines", "lf")])
def test_lines_have_one_kind_of_line_end(mode: str, newlines: str) -> None:
    """The line ends of a text are converted where each line is an example."""
    assert build_pipeline(CorpusConfig(mode=mode)).units.newlines == newlines


def test_every_text_counts_as_work(tmp_path: Path) -> None:
    """The bytes that are told before reading are those of separate texts too."""
    for size, name in enumerate("abc", start=4):
        (tmp_path / name).write_text("ab" * size)
    told = []
    config = CorpusConfig(*(str(tmp_path / name) for name in "abc"))
    _, files = build_corpus(
        config, progress=lambda what, size: told.append(size) if what == "total" else None
    )
    assert told == [8 + 10 + 12]
    for split, name in ((None, "a"), ("train", "a"), ("validation", "b"), ("test", "c")):
        assert [source.name for source in files.of(split)] == [str(tmp_path / name)]
    (tmp_path / "a").write_text("\ufeffabab")
    assert "begins with a byte-order mark" in build_corpus(config)[0].warnings[-1]


def test_teachers_are_files_but_for_a_word(tmp_path: Path) -> None:
    """Their paths are relative to the file, but `counts` is no path; an empty list, or nothing, is none."""
    text = "corpus: {path: a.txt}\ntrain:\n  teacher: %s\n"
    file = tmp_path / "none.yaml"
    for nothing in ("[]", ""):
        file.write_text(text % nothing)
        assert load(file).train.teachers == ()
    file.write_text(text % "[counts, runs/a]")
    assert load(file).train.teachers == ("counts", str(tmp_path / "runs/a"))
