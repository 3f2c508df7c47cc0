"""Pictures and pages of one or several runs."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from charlm.config.limits import PAGES, PICTURES, Language
from charlm.data.corpus import Progress, nothing
from charlm.interface.arguments import AnyPath, typed, warn, with_suffix
from charlm.interface.model import LanguageModel, load
from charlm.interface.run import Run
from charlm.lessons import hello, page
from charlm.report import curves, history
from charlm.system.errors import ConfigError
from charlm.web import assembly


@typed
def plot(
    runs: AnyPath | Sequence[AnyPath],
    path: AnyPath,
    x: Literal["updates", "epochs", "minutes"] = "updates",
) -> Path:
    """Draw the curves of one or several runs as PNG, SVG or PDF, by the suffix, as `charlm plot` does.

    `x` is the horizontal axis; minutes of training alone. Returns the path of the picture.

    Raises `ConfigError` for another suffix, `ExtraError` if matplotlib is missing, and `RunError`
    if a log cannot be read or the file cannot be written.
    """
    out = with_suffix(path, PICTURES)
    paths = [runs] if isinstance(runs, (str, os.PathLike)) else runs
    if not paths:
        raise ConfigError("runs: name a run")
    warn(*curves.write(out, [history.read(Run(run).path) for run in paths], x))
    return out


@typed
def lesson(
    runs: AnyPath | LanguageModel | Sequence[AnyPath | LanguageModel] = (),
    path: AnyPath = "lesson.html",
    text: str | None = None,
    language: Language = "en",
    progress: Progress = nothing,
) -> Path:
    """Write a web page that steps through networks, forward and backward, as `charlm lesson` does.

    Parameters
    ----------
    runs
        Runs, checkpoints or models; none trains small networks of every cell on `hello`.
    path
        The page, an `.html` file.
    text
        The text that they read; None is the beginning of the held-out text of the first.
    language
        The language of the page, which can be switched in it.
    progress
        As in `LanguageModel.perplexity`.

    Returns the path of the page. Raises `ConfigError` if a network is too large for a page or its
    cell is not one of charlm's, `VocabularyError` if the text holds what a network does not know, and
    `CharlmError` if the page cannot be written.
    """
    out = with_suffix(path, PAGES)
    named = [runs] if isinstance(runs, (str, os.PathLike, LanguageModel)) else runs
    models = [one if isinstance(one, LanguageModel) else load(one) for one in named]
    if not models and text is None:
        text = hello.TEXT
    networks = [model._loaded for model in models] or hello.networks()
    assembly.write(out, page.lesson(networks, text, language, progress))
    return out
