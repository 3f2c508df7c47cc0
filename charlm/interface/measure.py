"""Checks of a configuration on this machine: its gradients and its speed."""

from collections.abc import Mapping
from typing import Any

from charlm.config.limits import SECONDS, VOCAB, WORKERS
from charlm.interface.arguments import Configuration, complete, given, typed, within
from charlm.nn.gradcheck import Check
from charlm.system import blas
from charlm.system.errors import ConfigError
from charlm.system.team import ALONE, Team
from charlm.training import benchmark, checking
from charlm.training.benchmark import Speed


@typed
def check_gradients(
    config: Configuration | None = None, settings: Mapping[str, Any] | None = None
) -> list[tuple[str, list[Check]]]:
    """Compare the hand-written gradients with central differences, as `charlm eval gradients` does.

    With a `config` its network is checked at its own sizes, through the code that training runs;
    without one, small networks of every cell, depth and kind of dropout. `settings` are values of
    dotted keys. Returns the name of each network and its checks: one for each parameter, with its
    `worst` relative error and whether it is `right`.

    Raises `ConfigError` if the configuration is invalid, and `CorpusError` if its text cannot be
    read.
    """
    whole = None if config is None else complete(config, settings)
    return list(checking.check(whole, given(settings), Team(blas.workers())))


@typed
def bench(
    config: Configuration | None = None,
    settings: Mapping[str, Any] | None = None,
    vocab: int | None = None,
    threads: int | None = None,
    seconds: float = 3.0,
    *,
    team: Team = ALONE,
) -> Speed:
    """The speed of a configuration on this machine, on made-up text, as `charlm bench` measures it.

    Parameters
    ----------
    config, settings
        The configuration and values of dotted keys; without them the default of every key.
    vocab
        Units of the made-up vocabulary; None takes as many as the configured text has, or 65.
    threads
        None takes `run.threads`.
    seconds
        How long each part is timed.
    team
        Ranks that train and evaluate together, each called with the same arguments.

    Raises
    ------
    ConfigError
        If an argument has a wrong type or value, or the network does not fit into memory.
    CorpusError
        If the configured text cannot be read.
    """
    within(1, VOCAB, vocab=vocab)
    within(1, WORKERS, threads=threads)
    if not 0 < seconds <= SECONDS:
        raise ConfigError(f"seconds: {seconds} is not above 0 and at most {SECONDS:,}")
    whole = complete(config, settings)
    team = team.prepare(threads or whole.run.threads)
    characters, units = team.first(lambda: checking.text_size(whole)) or (None, checking.USUAL_VOCAB)
    return benchmark.measure(whole, vocab or units, seconds, team, characters)
