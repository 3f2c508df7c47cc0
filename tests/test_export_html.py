"""The page that generates text: in a browser it is what the commands are, and it loads nothing."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from browser import Page
from conftest import Run
from exported import KINDS, TALES, make, nats, page_data

from charlm.data.units import Units, Writer
from charlm.export import html
from charlm.inference.generate import Sampling, TextSampler, streams_of
from charlm.interface.surprises import surprises
from charlm.nn import cells
from charlm.nn.parameters import Parameters
from charlm.runs import checkpoint
from charlm.runs.checkpoint import Checkpoint
from charlm.system.errors import ConfigError
from charlm.web import assembly
from charlm.web.text import MOST_BITS


def export(directory: Path, made: Checkpoint, float32: bool = True) -> Path:
    """A new page of it."""
    file = directory / f"page-{len(list(directory.iterdir()))}.html"
    html.write(file, made, float32)
    return file


def written(page: Page, file: Path, **settings: object) -> str:
    """What the page writes with these settings in its fragment, once it has said that it is done."""
    # nothing of the text before may look like the end of this one
    page.evaluate(
        "document.querySelectorAll('[role]').forEach((element) => element.replaceChildren());"
        "document.querySelectorAll('input').forEach((input) => input.setCustomValidity(''));"
        "document.querySelector('form')?.reset()"
    )
    page.open(file, "&".join(f"{name}={quote(str(value))}" for name, value in settings.items()))
    page.wait_for(
        "run === null && ['#status:not(:empty)', '#message:not(:empty)', 'input:invalid']"
        ".some((selector) => document.querySelector(selector))"
    )
    return page.text("#output")


def scored(page: Page, text: str) -> float:
    """What `charlm.score` gives in the console."""
    found: float = page.evaluate(f"charlm.score({json.dumps(text)})")
    return found


def greedy_text(made: Checkpoint, prime: str, length: int) -> str:
    """What `charlm sample --greedy` prints."""
    sampler = TextSampler.of(made.config.corpus, made.model, made.parameters, made.vocabulary)
    codes = sampler.codes(prime)
    drawn = sampler.draw(codes, length, Sampling(greedy=True), np.random.default_rng())
    return "".join(sampler.written([*codes, *drawn]))


@pytest.mark.parametrize(
    ("form", "kind", "layers"),
    [
        ("rnn", "char", 1),
        ("rnn", "lines", 3),
        ("lstm", "mixed", 1),
        ("lstm", "byte", 2),
        ("gru after", "mixed", 3),
        ("gru after", "jamo", 1),
        ("gru before", "byte", 2),
        ("gru before", "char", 3),
    ],
)
def test_it_writes_and_scores_as_charlm_does(
    page: Page, tmp_path: Path, form: str, kind: str, layers: int
) -> None:
    """Every cell twice, every way of reading, one to three layers: equal greedy text, equal loss."""
    text, _, prime = KINDS[kind]
    made = make(tmp_path, form, kind, layers)
    found = written(page, export(tmp_path, made), prime=prime, length=150, greedy=1)
    assert found == greedy_text(made, prime, 150)
    assert scored(page, text[-1_000:]) == pytest.approx(nats(made, text[-1_000:]), abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_it_shades_a_text_by_the_bits_of_the_table(page: Page, tmp_path: Path, kind: str) -> None:
    """Each character that is shown has the bits of its row in `charlm score --by unit`; Continue goes on."""
    made = make(tmp_path, "gru after", kind, 2)
    length = 0 if kind == "byte" else 60  # bytes that are drawn are no characters yet
    found = written(page, export(tmp_path, made), prime=KINDS[kind][2], length=length, seed=3)
    page.click("#shade")
    page.wait_for("output.querySelector('i') !== null")
    assert page.text("#output") == found
    shown = page.evaluate(
        "Array.from(output.querySelectorAll('i span'),"
        " (one) => [one.textContent, one.title, one.style.getPropertyValue('--share')])"
    )
    rows = surprises(made, found, "unit")
    assert len(rows) - len(shown) == (kind == "lines")  # the last line break is not shown
    for (character, title, share), row in zip(shown, rows, strict=False):
        assert character == row.text
        assert (row.bits is None) == ("not predicted" in title)
        if row.bits is not None:
            assert float(title.removesuffix(" bits")) == pytest.approx(row.bits, abs=0.02)
            assert float(share) == pytest.approx(min(1.0, row.bits / MOST_BITS), abs=0.003)
    page.click("#continue")
    page.wait_for("run === null && output.ariaBusy === 'false'")
    assert page.text("#output").startswith(found)


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_gives_the_text_of_the_command(page: Page, charlm: Run, tmp_path: Path, kind: str) -> None:
    """Drawn with the same seed, the text is that of `charlm sample`, with a prime and without."""
    made = make(tmp_path, "gru after", kind)
    checkpoint.save(tmp_path / "made.npz", made)
    file = export(tmp_path, made)
    for prime, seed in (KINDS[kind][2], 5), ("", 2**70):
        command = ("sample", "--checkpoint", "made.npz", "--prime", prime, "--length", "100")
        drawn = charlm(*command, "--seed", str(seed), "--temperature", "0.8", "--top-p", "0.9").stdout
        settings = {"prime": prime, "length": 100, "seed": seed, "temperature": 0.8, "top_p": 0.9}
        assert written(page, file, **settings) + "\n" == drawn


def test_without_line_breaks_a_text_begins_anywhere(page: Page, charlm: Run, tmp_path: Path) -> None:
    """A model that knows no line breaks draws its first unit evenly, the one of the command, or greedily."""
    made = make(tmp_path, text="one line and no more, " * 20)
    checkpoint.save(tmp_path / "made.npz", made)
    for seed in (1, 2):
        drawn = charlm("sample", "--checkpoint", "made.npz", "--length", "40", "--seed", str(seed)).stdout
        found = written(page, export(tmp_path, made), length=40, seed=seed, temperature=1)
        assert found + "\n" == drawn
    assert written(page, export(tmp_path, made), length=40, greedy=1) == greedy_text(made, "", 40)


def test_line_breaks_of_a_prime_are_kept(page: Page, tmp_path: Path) -> None:
    """A model that was trained on carriage returns gets those of the fragment, which no field can hold."""
    made = make(tmp_path, text=TALES.replace("\n", "\r\n"))
    for prime in ("The\r\nold", "The\nold"):
        found = written(page, export(tmp_path, made), prime=prime, length=40, greedy=1)
        assert found == greedy_text(made, prime, 40)


def test_random_numbers_are_those_of_numpy(page: Page, tmp_path: Path) -> None:
    """Any seed gives the numbers that `charlm sample` draws with, for each of several texts."""
    page.open(export(tmp_path, make(tmp_path)))
    for seed in (0, 1, 12_345, 2**32, 2**64 + 7, 2**200 + 3):
        for number, (rng, below) in enumerate(zip(streams_of(seed, 3), (1, 70, 3 * 2**30), strict=True)):
            expected = [int(rng.integers(below)), *(float(rng.random()) for _ in range(5))]
            made = f"new Random({seed}n, {number})"
            assert expected == page.evaluate(
                f"((r) => [r.below({below}), ...Array.from({{ length: 5 }}, () => r.uniform())])({made})"
            )


@pytest.mark.parametrize("unit", ["byte", "nfd", "nfkd"])
def test_units_are_put_together_as_in_the_command(page: Page, tmp_path: Path, unit: str) -> None:
    """Whatever units follow one another, what is shown is what `charlm sample` shows."""
    page.open(export(tmp_path, make(tmp_path)))
    rng = np.random.default_rng(0)
    if unit == "byte":
        units = Units(unit="byte")
        pool = [*b"a\n", *"가é😀".encode(), 0x80, 0xC3, 0xE0, 0xED, 0xF4, 0xFF]
    else:
        units = Units(normalize=unit)
        pool = [ord(c) for c in "ae가각\u1100\u1161\u11a8\u0301\u0308\u0323\u0345ै\u0e31ﬁ\u2126\u302e𝅥 \n"]
    texts = [rng.choice(pool, rng.integers(1, 12)).tolist() for _ in range(400)]
    texts += [units.codes("\ufeffa\ufeff".encode() if units.is_byte else "\ufeffa\ufeff").tolist()]
    for codes in texts:
        writer = Writer(units)
        assert "".join(map(writer.write, codes)) + writer.finish() == units.text(np.array(codes, np.uint32))
    how = json.dumps({"isByte": units.is_byte, "composes": units.composes})
    found = page.evaluate(
        f"{json.dumps(texts)}.map((codes) => {{"
        f"  const writer = new Writer({how});"
        "  return codes.map((code) => writer.write(code)).join('') + writer.finish(); })"
    )
    assert found == [units.text(np.array(codes, np.uint32)) for codes in texts]


def test_a_click_writes_and_another_stops(page: Page, tmp_path: Path) -> None:
    """Text appears while it is drawn, the page answers meanwhile, and Stop ends it for good."""
    page.open(export(tmp_path, make(tmp_path)))
    assert page.evaluate("document.getElementById('stop').disabled")
    page.evaluate("document.getElementById('length').value = 100000")
    page.click("#generate")
    first = page.wait_for("output.textContent.length")
    page.wait_for(f"output.textContent.length > {first}")
    assert page.evaluate("output.ariaBusy") == "true"
    assert page.text("#status") == "Writing…"
    page.click("#stop")
    length = page.evaluate("output.textContent.length")
    assert page.evaluate("output.ariaBusy") == "false"
    assert f"Stopped: {length:,} characters in " in page.text("#status")
    page.evaluate("new Promise((resolve) => setTimeout(resolve, 60))")
    assert page.evaluate("output.textContent.length") == length < 100_000


def test_it_is_used_by_keyboard(page: Page, tmp_path: Path) -> None:
    """Tab reaches every control; Control and Enter begin, Escape ends, and the focus is never lost."""
    page.open(export(tmp_path, make(tmp_path)))
    reached = []
    for _ in range(8):
        page.press("Tab")
        reached.append(page.evaluate("document.activeElement.id"))
    assert reached == ["prime", "temperature", "top_p", "length", "seed", "greedy", "generate", "copy"]
    page.evaluate(
        "document.getElementById('prime').focus(); document.getElementById('length').value = 100000"
    )
    page.type("The old")
    page.press("Enter", control=True)
    page.wait_for("output.textContent.length > 10")
    page.press("Tab")
    page.press("Escape")
    assert page.text("#status").startswith("Stopped")
    assert page.text("#output").startswith("The old")
    assert page.evaluate("document.activeElement.id") == "temperature"
    page.press("Enter")
    page.evaluate("document.getElementById('stop').focus()")
    page.press("Enter")
    assert page.text("#status").startswith("Stopped")
    assert page.evaluate("document.activeElement.id") == "generate"


@pytest.mark.parametrize("kind", ["char", "mixed"])
def test_what_the_model_lacks_is_named(page: Page, tmp_path: Path, kind: str) -> None:
    """A character of the prime that the model does not know is named; only <unk> can stand for it."""
    file = export(tmp_path, make(tmp_path, kind=kind))
    text = written(page, file, prime=f"{KINDS[kind][2]}\U0001f600ж", length=20)
    assert page.text("#message").startswith("The model does not know “\U0001f600” (U+1F600), “ж” (U+0436)")
    if kind == "mixed":
        assert "<unk>" in page.text("#message")
        assert len(text) > 20
    else:
        assert text == page.text("#status") == ""
        assert page.evaluate("document.activeElement.id") == "prime"
        assert page.evaluate("document.activeElement.ariaInvalid") == "true"
    assert written(page, file, prime=KINDS[kind][2], length=20)
    said = page.evaluate(
        "(() => { try { return charlm.score('aж'); } catch (error) { return error.message; } })()"
    )
    assert said == "the model does not know “ж” (U+0436)" if kind == "char" else said > 0
    assert page.text("#message") == ""


def test_a_line_cannot_hold_a_line_break(page: Page, tmp_path: Path) -> None:
    """For a model of lines, a prime of two lines is refused in words."""
    assert written(page, export(tmp_path, make(tmp_path, kind="lines")), prime="a\nb") == ""
    assert "line break" in page.text("#message")


OUT_OF_RANGE = {
    "char": [
        ("temperature", "0", "Temperature: a number above 0; what 0 would be is “Always take the likeliest"),
        ("temperature", "x", "Temperature: a number above 0"),
        ("top_p", "1.5", "Top-p: a number above 0, at most 1."),
        ("length", "-1", "Length: a whole number, at most 9,999,999."),
        ("length", "99999999", "Length: a whole number, at most 9,999,999."),
        ("seed", "abc", "Seed: a whole number of at most 40 digits, or nothing for any."),
    ],
    "lines": [("num", "0", "Lines: a whole number from 1 to 99,999.")],
}
"""Fields of the pages of these kinds, wrong values, and what is said of them."""


@pytest.mark.parametrize("kind", OUT_OF_RANGE)
def test_a_number_out_of_range_begins_nothing(page: Page, tmp_path: Path, kind: str) -> None:
    """The page says which field is wrong and what would be right; what was written before is gone."""
    page.open(export(tmp_path, make(tmp_path, kind=kind)))
    for name, value, words in OUT_OF_RANGE[kind]:
        page.evaluate(f"element('{name}').value = '{value}'; element('output').textContent = 'of before'")
        page.evaluate("element('status').textContent = 'Written: 500 characters'")
        page.click("#generate")
        assert page.text("#message").startswith(words)
        assert page.text("#output") == page.text("#status") == ""
        assert page.evaluate("document.activeElement.id") == name
        assert page.evaluate(f"element('{name}').matches(':invalid[aria-invalid=true]')")
        page.evaluate(
            f"element('{name}').value = '1';"
            f"element('{name}').dispatchEvent(new Event('input', {{ bubbles: true }}))"
        )
        assert page.text("#message") == ""
        assert not page.evaluate(f"element('{name}').matches(':invalid')")


def test_numbers_between_the_steps_of_the_arrows_are_valid(page: Page, tmp_path: Path) -> None:
    """Any number in the range will do; what greedy text does not need is not looked at."""
    file = export(tmp_path, make(tmp_path))
    assert written(page, file, temperature=0.123, top_p=0.777, length=5)
    assert written(page, file, num="x", length=5), "of a page of lines"
    assert written(page, file, temperature=0, top_p=9, greedy=1, length=6)


@pytest.mark.parametrize("kind", ["char", "jamo", "lines"])
def test_a_text_goes_on(page: Page, charlm: Run, tmp_path: Path, kind: str) -> None:
    """Continue gives what twice the length, or number, would have given at once; after Stop the rest."""
    made = make(tmp_path, kind=kind)
    checkpoint.save(tmp_path / "made.npz", made)
    prime, seed = KINDS[kind][2], {"prime": KINDS[kind][2], "seed": 4}
    command = ("sample", "--checkpoint", "made.npz", "--prime", prime, "--seed", "4", "--temperature", "0.7")
    of_lines = kind == "lines"
    settings = {"length": 60, "num": 3} if of_lines else {"length": 41}
    written(page, export(tmp_path, made), **seed, **settings)
    length = page.evaluate("shown.drawn")
    page.evaluate("shown.seconds = 500")
    page.click("#continue")
    page.wait_for("run === null")
    size = ("--length", "60", "--num", "6") if of_lines else ("--length", "82")
    assert page.text("#output") + "\n" == charlm(*command, *size).stdout
    assert page.evaluate("document.activeElement.id") == "continue"
    count = "6 lines" if of_lines else f"82 {'unit' if kind == 'jamo' else assembly.unit(made)}s"
    assert page.text("#status").startswith(f"Written: {count} in 5"), "the time of both parts"
    assert of_lines or length == 41
    page.evaluate("copied = []; navigator.clipboard.writeText = (text) => copied.push(text)")
    page.click("#copy_text")
    page.wait_for("element('status').textContent === 'The text is copied.'")
    assert page.evaluate("copied[0] === element('output').textContent")
    # a text that was stopped has its rest before it has more
    page.evaluate("write(); end('Stopped')")
    page.click("#continue")
    page.wait_for("run === null")
    size = ("--length", "60", "--num", "3") if of_lines else ("--length", "41")
    assert page.text("#output") + "\n" == charlm(*command, *size).stdout


def test_a_link_carries_the_settings(page: Page, tmp_path: Path) -> None:
    """A link gives the same text elsewhere, its random seed included; that of a file names no folder."""
    prime = "한국 + &=%#\n"
    file = export(tmp_path, make(tmp_path, kind="byte", text=KINDS["byte"][0] + prime))
    text = written(page, file, prime=prime, temperature=0.5, top_p=0.9, length=30)
    assert text.startswith(prime)
    assert text != prime
    page.evaluate("copied = []; navigator.clipboard.writeText = (text) => copied.push(text)")
    page.click("#copy")
    page.wait_for("element('status').textContent.includes('Whoever opens it needs the file')")
    assert page.evaluate("copied[0] === location.hash.replace(/^/, location.pathname.split('/').pop())")
    assert page.evaluate("copied[0]").startswith(f"{file.name}#prime=")
    page.evaluate("navigator.clipboard.writeText = () => Promise.reject()")
    page.click("#copy")
    page.wait_for("element('status').textContent.includes('in the address bar')")
    fragment = page.evaluate("location.hash.slice(1)")
    assert (
        "prime=%ED%95%9C%EA%B5%AD%20%2B%20%26%3D%25%23%0A&length=30&temperature=0.5&top_p=0.9&seed="
        in fragment
    )
    page.open("about:blank")
    page.open(file, fragment)
    page.wait_for("run === null")
    assert page.text("#output") == text
    assert written(page, file, length=10, greedy=1)
    page.click("#copy")
    assert page.evaluate("location.hash") == "#prime=&length=10&greedy=1"
    page.evaluate("document.getElementById('length').value = 'many'")
    page.click("#copy")
    assert page.evaluate("location.hash") == "#prime=&length=10&greedy=1"


def test_names_cannot_become_markup(page: Page, tmp_path: Path) -> None:
    """Whatever a run, a text or a separator is called, the page shows it and does not run it."""
    markup = "</title></script><script>document.title='gone'</script><img src=x onerror=a()>"
    hostile = f"{markup}\u202e\x07\"'&$style"
    run = "runs/" + hostile.replace("/", "\\")
    made = make(tmp_path, run__dir=run, corpus__separator=hostile)
    text = written(page, export(tmp_path, made), prime="The ", length=20, greedy=1)
    assert text == greedy_text(made, "The ", 20)
    shown = page.text("h1")
    assert shown == page.evaluate("document.title")
    assert "<script>document.title='gone'<" in shown
    assert "\u202e" not in shown
    assert "\x07" not in shown
    assert page.evaluate("document.images.length") == 0
    assert page.evaluate("data.corpus.separator") == hostile


def test_the_policy_forbids_everything_else(page: Page, tmp_path: Path) -> None:
    """Even a script in the page can load nothing from anywhere, and no other script runs."""
    page.open(export(tmp_path, make(tmp_path)))
    for attempt in (
        "((script) => { script.text = 'globalThis.ran = 1'; document.body.append(script); })"
        "(document.createElement('script'))",
        "document.body.append(Object.assign(new Image(), { src: 'http://127.0.0.1:9/x.png' }))",
        "document.body.setAttribute('onclick', 'globalThis.ran = 1'), document.body.click()",
        "fetch('http://127.0.0.1:9/').catch(() => 0)",
    ):
        page.evaluate(attempt)
        page.wait_for("new Promise((resolve) => setTimeout(() => resolve(true), 20))")
        assert page.evaluate("globalThis.ran === undefined")
        assert any("Content Security Policy" in error for error in page.errors)
        page.errors.clear()
        page.requests[:] = [url for url in page.requests if url.startswith("file:")]


def test_float16_is_read_exactly(page: Page, tmp_path: Path) -> None:
    """Every number of 16 bits is read as NumPy reads it, and the greedy text of 500 characters is equal."""
    made = make(tmp_path, layers=2, change=round_off)
    file = export(tmp_path, made, float32=False)
    assert page_data(file)["parameters"]["type"] == "float16"
    assert written(page, file, greedy=1) == greedy_text(made, "", 500)
    every = np.arange(1 << 16, dtype=np.uint16)
    numbers = every.view(np.float16).astype(float)
    finite = np.isfinite(numbers)
    found = page.evaluate(f"{every[finite].tolist()}.map(half)")
    np.testing.assert_array_equal(found, numbers[finite])


@pytest.mark.slow
def test_a_page_of_the_usual_size_is_quick(page: Page, tmp_path: Path) -> None:
    """With the network of configs/tales.yaml the form is there within 200 ms; 300 characters per second."""
    file = export(tmp_path, usual(tmp_path), float32=False)
    page.open(file)
    paint = page.wait_for("performance.getEntriesByName('first-contentful-paint')[0]?.startTime")
    written(page, file, length=2_000, seed=1)
    seconds = float(re.findall(r"2,000 characters in ([0-9.]+) s", page.text("#status"))[0])
    print(f"{paint:.0f} ms, {2000 / seconds:,.0f} characters per second")
    assert paint < 200
    assert 2000 / seconds > 300


def usual(directory: Path) -> Checkpoint:
    """A network of the size of configs/tales.yaml, for 70 characters, which float16 holds exactly."""
    characters = "".join(map(chr, range(ord("!"), ord("!") + 69)))
    return make(directory, hidden=192, layers=2, text=f"{characters}\n" * 2, change=round_off)


def round_off(parameters: Parameters) -> None:
    """Make parameters such that float16 holds them exactly."""
    parameters.flat[...] = html.rounded(parameters).flat


@pytest.mark.parametrize("float32", [True, False])
def test_the_file_holds_the_model(tmp_path: Path, float32: bool) -> None:
    """Parameters, vocabulary and settings can be read from the file; equal models make equal bytes."""
    made = make(tmp_path, kind="mixed")
    file, again = export(tmp_path, made, float32), export(tmp_path, make(tmp_path, kind="mixed"), float32)
    assert file.read_bytes() == again.read_bytes()
    described = page_data(file)
    kept = np.frombuffer(base64.b64decode(described["parameters"]["packed"]), "<f4" if float32 else "<f2")
    np.testing.assert_array_equal(
        kept, made.parameters.flat if float32 else html.rounded(made.parameters).flat
    )
    assert described["parameters"]["shapes"] == {n: list(a.shape) for n, a in made.parameters.items()}
    assert described["vocabulary"] == made.vocabulary.codes.tolist()
    assert described["corpus"]["normalize"] == "nfkd"
    assert "text.txt" not in file.read_text()


def test_a_page_of_the_usual_size_is_small(tmp_path: Path) -> None:
    """A page of the network of configs/tales.yaml is at most 1.5 MB."""
    made = usual(tmp_path)
    assert made.parameters.flat.size == 511_174
    assert export(tmp_path, made, float32=False).stat().st_size < 1_500_000


def test_what_float16_cannot_hold_stays_float32(tmp_path: Path) -> None:
    """A parameter beyond float16, or a greedy text that rounding would change, is said in one line."""

    def huge(parameters: Parameters) -> None:
        parameters["output.b"][3] = -70_000

    def close(parameters: Parameters) -> None:
        # two units that are as likely, but for a difference that rounding removes
        parameters["output.W"][...] = 0
        parameters["output.b"][...] = 0
        parameters["output.b"][[2, 5]] = 1, 1.00001

    file = tmp_path / "page.html"
    for change, words in (
        (huge, "a parameter of 70,000 is beyond float16"),
        (close, "changes from character 1 on"),
    ):
        made = make(tmp_path, change=change)
        first, *rest = html.write(file, made)
        assert first.startswith("Written as float32: ")
        assert words in first
        kept = base64.b64decode(page_data(file)["parameters"]["packed"])
        assert kept == made.parameters.flat.tobytes()
        assert html.write(file, made, float32=True) == rest


def test_the_account_of_the_model(tmp_path: Path) -> None:
    """The page says in a sentence what the model is."""
    for form, kind, layers, words in (
        ("lstm", "char", 1, "LSTM, 16 units, "),
        ("gru before", "byte", 3, "GRU (reset before), 3 layers of 16 units, "),
    ):
        made = make(tmp_path, form, kind, layers)
        account = assembly.account(made)
        unit = {"char": "character"}.get(kind, kind)
        assert account.strip().startswith(
            f"{words}{made.parameters.flat.size:,} parameters, trained on "
            f"{made.corpus['train']:,} {unit}s; 2.16 bits per {unit} on text that was held back"
        )
    whole = make(tmp_path, corpus__split=(1.0, 0.0, 0.0))
    assert "bits" not in assembly.account(whole)
    assert f">{assembly.account(whole)}.</p>" in export(tmp_path, whole).read_text()


def test_the_command(charlm: Run, tmp_path: Path) -> None:
    """`charlm export` writes the page, says how large it is, and refuses what cannot be."""
    checkpoint.save(tmp_path / "made.npz", make(tmp_path))
    done = charlm("export", "a page.HTML", "--checkpoint", "made.npz")
    size = (tmp_path / "a page.HTML").stat().st_size
    assert f"a page.HTML: {size / 1e6:.2f} MB" in done.stderr
    assert "browser" in done.stdout
    charlm("export", "larger.html", "--checkpoint", "made.npz", "--float32")
    assert (tmp_path / "larger.html").stat().st_size > size
    told = charlm("export", "x.onnx", "--checkpoint", "made.npz", "--float32", status=2).stderr
    assert "--float32 is for pages" in told
    told = charlm("export", "none/x.html", "--checkpoint", "made.npz", status=1).stderr
    assert told == "Error: none/x.html cannot be written: no such file or directory\n"


def test_a_cell_of_ones_own_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cell that the page does not have is an error that names it, and no file is written."""
    monkeypatch.setitem(cells._REGISTRY, "leaky", {"": "leaky:LeakyRNN"})
    with pytest.raises(ConfigError, match=r"model\.cell: leaky is not one of rnn, lstm, gru"):
        html.write(tmp_path / "page.html", make(tmp_path, "leaky"))
    assert not (tmp_path / "page.html").exists()
