"""The Python interface: what the commands do, as functions that return values.

Import it as `charlm`. Each command has its function:

==========================  ================================================================
`charlm train`              `train(config, corpus, out, settings, minutes=…, init=…)`, a `Run`
`charlm init`               `recipe(corpus, minutes)`, a `Config`; `.to_commented_yaml()`
`charlm sample`             `model.sample(prime, length)`, `model.stream(prime, length)`
`charlm sample --novelty`   `model.novelty(texts)`
`charlm eval perplexity`    `model.perplexity(corpus, split, window, dynamic)`
`charlm score`              `model.surprisal(text, by)`, `model.scores(texts)`
`charlm eval gradients`     `check_gradients(config, settings)`
`charlm eval gradient-flow` `model.gradient_flow(steps, corpus)`, `untrained(config)`
`charlm export`             `model.export(path)`
`charlm import`             `import_weights(path, out, vocabulary)`, a `Run`
`charlm plot`               `plot(runs, path, x)`
`charlm report`             `model.report(path, text, length)`
`charlm lesson`             `lesson(runs, path, text, language)`
`charlm bench`              `bench(config, settings, vocab, threads, seconds)`
`charlm info`               `model.info()`, `Run(path).metrics`
==========================  ================================================================

`model` is `load(path)` or `Run(path).load()`; `load([a, b])` is `--checkpoint a --checkpoint b --mean`.
A model also has `score`, `losses`, `predict` and `trace` for texts in memory.

Nothing is printed. Errors are `charlm.CharlmError`s: a wrong type or value of an argument is a
`ConfigError`. Remarks are `UserWarning`s, or events of training. A path is a text, a `pathlib.Path`,
or a `Run`. Models and results can be pickled and copied, and several threads can use one model.

OpenBLAS has one thread during a call, and afterwards as many as before; the same holds for the
interpreter's switch interval.
"""

from charlm.config.keys import Config
from charlm.data.cache import Entry, user_cache
from charlm.data.corpus import nothing
from charlm.inference.evaluate import Evaluation
from charlm.inference.generate import Sampling
from charlm.inference.gradient_flow import DECADES, GradientFlow
from charlm.inference.judge import judges_of
from charlm.inference.novelty import STRETCH, Novelty
from charlm.inference.rows import By, Columns, Rows
from charlm.inference.score import Score
from charlm.inference.surprisal import Reset, pieces_of, surprisal, usual_reset
from charlm.inference.trace import Trace
from charlm.interface.measure import bench, check_gradients
from charlm.interface.model import LanguageModel, draw, load, untrained
from charlm.interface.pictures import lesson, plot
from charlm.interface.run import Run, import_weights, recipe, train
from charlm.lessons.page import added_bytes
from charlm.nn.gradcheck import TOLERANCE, Check
from charlm.runs import checkpoint
from charlm.runs.ensemble import together
from charlm.training import checking, session
from charlm.training.benchmark import Speed
from charlm.web.assembly import CELLS

__all__ = [
    "CELLS",
    "DECADES",
    "STRETCH",
    "TOLERANCE",
    "By",
    "Check",
    "Columns",
    "Config",
    "Entry",
    "Evaluation",
    "GradientFlow",
    "LanguageModel",
    "Novelty",
    "Reset",
    "Rows",
    "Run",
    "Sampling",
    "Score",
    "Speed",
    "Trace",
    "added_bytes",
    "bench",
    "check_gradients",
    "checking",
    "checkpoint",
    "draw",
    "import_weights",
    "judges_of",
    "lesson",
    "load",
    "nothing",
    "pieces_of",
    "plot",
    "recipe",
    "session",
    "surprisal",
    "together",
    "train",
    "untrained",
    "user_cache",
    "usual_reset",
]
