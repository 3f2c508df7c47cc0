"""What a user writes, all of the Python interface: `mypy --strict` finds nothing wrong with it."""

from __future__ import annotations

from pathlib import Path

import charlm
from charlm.training.events import Event, Validated


def show(event: Event) -> None:
    """A listener."""
    if isinstance(event, Validated):
        print(event.validation_loss)


def use(text: Path) -> list[str]:
    """Train, look, measure, and give away."""
    config: charlm.Config = charlm.recipe(text, minutes=0.5, settings={"train.seed": 2})
    runs: list[charlm.Run] = [
        charlm.train(config, out="runs/a", on_event=show),
        charlm.train(corpus=text, minutes=1, overwrite=True),
        charlm.train({"model": {"hidden": 8}}, text, init=Path("runs/a"), max_steps=10),
    ]
    charlm.plot(runs, "curves.svg", x="epochs")
    charlm.lesson([*runs, runs[0].load()], "lesson.html", text="hello", language="ko")
    losses: list[float] = [line["train_loss"] for line in runs[0].metrics]
    model: charlm.LanguageModel = runs[0].load()
    score: charlm.Score = model.score("some text")
    trace: charlm.Trace = model.trace("some text")
    evaluation: charlm.Evaluation = model.perplexity(split="test", dynamic=True)
    flow: charlm.GradientFlow = charlm.untrained(runs[0]).gradient_flow(steps=20)
    novelty: charlm.Novelty = model.novelty(model.sample("a", length=100, seed=1))
    likeliest: list[tuple[str, float]] = model.predict("a", top=3)
    checks: list[charlm.Check] = [check for _, some in charlm.check_gradients() for check in some]
    speed: charlm.Speed = charlm.bench(config, threads=1)
    again = charlm.import_weights("model.safetensors", out="runs/b").load()
    print(losses, score.bits_per_char, trace.probabilities.shape, evaluation.asked, flow.relative)
    print(novelty.known)
    print(likeliest, checks[0].right, speed.train_chars_per_s, again.parameters["output.b"], model.info())
    return [*model.export("model.html", float32=True), str(model.report()), *model.stream("a", greedy=True)]
