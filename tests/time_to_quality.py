"""Minutes until a validation loss is reached: charlm, and a plain PyTorch program, in turn.

Run by hand, with PyTorch installed, on a quiet machine::

    python tests/time_to_quality.py tinyshakespeare.txt

Both train on the first 90 % of the text. The loss is that of the last 10 % in windows of 256
characters, each from a zero state, scored for both by charlm and by PyTorch's own forward pass.
The clock of both stands still while a model is scored or saved.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import charlm
from charlm.training.events import Event, Validated

GOALS = (1.70, 1.60, 1.55, 1.50)
"""Losses in nats per character."""

SHARE = 0.9
"""Of the text, to train on."""

WINDOW = 256
"""Characters of a window that is scored."""

EVERY = 0.25
"""Epochs between two scores."""

CHARLM: dict[str, dict[str, object]] = {
    "model": {"cell": "lstm", "hidden": 192, "layers": 2, "weight_drop": 0.05},
    "train": {
        "batch": 24,
        "seq_len": 50,
        "epochs": 5,
        "optimizer": "adamw",
        "lr": 0.02,
        "output_lr": 5.73,
        "beta2": 0.99,
        "clip_norm": 1.0,
        "weight_decay": 0.05,
        "schedule": "cosine",
        "warmup": 100,
    },
    "run": {"eval_every": EVERY, "sample_every": 0},
}
"""What `charlm train --minutes 2` chooses for this text, nearly."""

Scores = Iterator[tuple[float, float]]
"""Seconds of training, and the loss then."""


def with_charlm(text: str) -> None:
    """Train with charlm, and print each score as soon as there is one."""
    held_out = text[int(SHARE * len(text)) :]
    with tempfile.TemporaryDirectory() as folder:
        corpus, out = Path(folder, "text.txt"), Path(folder, "run")
        corpus.write_text(text, encoding="utf-8")

        def listen(event: Event) -> None:
            if isinstance(event, Validated):
                loss = charlm.load(out / "last.npz").score(held_out, window=WINDOW).nats_per_char
                print(charlm.Run(out).metrics[-1]["seconds"], loss, flush=True)

        config = {"corpus": {"path": str(corpus), "split": (SHARE, 1 - SHARE, 0)}, **CHARLM}
        charlm.train(config, out=out, on_event=listen)


def with_pytorch(text: str) -> None:
    """Train with PyTorch, and print each score as soon as there is one.

    An LSTM of 512 units with dropout before the output, Adam with a cosine to zero, batches of 50
    windows of 64 characters, the state carried from window to window.
    """
    import torch
    from torch import nn

    torch.manual_seed(1)
    torch.set_num_threads(2)
    epochs, B, T, H, lr = 10, 50, 64, 512, 0.004

    characters = sorted(set(text))
    ids = torch.tensor([characters.index(character) for character in text])
    V, cut = len(characters), int(SHARE * len(text))

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(V, H)
            self.lstm = nn.LSTM(H, H, batch_first=True)
            self.dropout = nn.Dropout(0.3)
            self.output = nn.Linear(H, V)

        def forward(self, x, state):  # type: ignore[no-untyped-def]
            h, state = self.lstm(self.embedding(x), state)
            return self.output(self.dropout(h)), state

    network = Network()
    streams = ids[: cut // B * B].view(B, -1)
    windows = (streams.shape[1] - 1) // T
    optimizer = torch.optim.Adam(network.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * windows)
    held_out = ids[cut : cut + (len(ids) - cut - 1) // WINDOW * WINDOW + 1]
    x, y = held_out[:-1].view(-1, WINDOW), held_out[1:].view(-1, WINDOW)

    @torch.no_grad()
    def loss_now() -> float:
        network.eval()
        total = sum(
            nn.functional.cross_entropy(
                network(a, None)[0].flatten(0, 1), b.flatten(), reduction="sum"
            ).item()
            for a, b in zip(x.split(64), y.split(64), strict=True)
        )
        network.train()
        return total / y.numel()

    seconds, due = 0.0, EVERY
    for epoch in range(epochs):
        state = None
        for window in range(windows):
            began = time.perf_counter()
            start = window * T
            logits, state = network(streams[:, start : start + T], state)
            state = tuple(part.detach() for part in state)
            target = streams[:, start + 1 : start + T + 1]
            loss = nn.functional.cross_entropy(logits.flatten(0, 1), target.flatten())
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimizer.step()
            schedule.step()
            seconds += time.perf_counter() - began
            if epoch + (window + 1) / windows >= due:
                print(seconds, loss_now(), flush=True)
                due += EVERY


def scores(program: str, file: str) -> Scores:
    """The scores of one of the two programs, which runs in a process of its own."""
    command = [sys.executable, __file__, file, program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            seconds, loss = map(float, line.split())
            yield seconds, loss


def main(file: str, program: str | None = None) -> None:
    """Run one of the programs, or both in turn, and print the minutes to each goal."""
    if program is not None:
        text = Path(file).read_text(encoding="utf-8")
        {"charlm": with_charlm, "pytorch": with_pytorch}[program](text)
        return
    minutes: dict[str, list[float | None]] = {}
    for name in ("charlm", "pytorch"):
        found = list(scores(name, file))
        best = list(itertools.accumulate((loss for _, loss in found), min))
        minutes[name] = [
            next((s / 60 for (s, _), low in zip(found, best, strict=True) if low <= goal), None)
            for goal in GOALS
        ]
        print(f"{name}: {found[-1][0] / 60:.2f} minutes in all, best {best[-1]:.4f}, last {found[-1][1]:.4f}")
    print(f"{'loss':>6} {'charlm':>8} {'PyTorch':>8} {'ratio':>6}")
    for goal, own, other in zip(GOALS, minutes["charlm"], minutes["pytorch"], strict=True):
        ratio = f"{own / other:.2f}" if own and other else "–"
        print(f"{goal:6.2f} {_minutes(own):>8} {_minutes(other):>8} {ratio:>6}")


def _minutes(value: float | None) -> str:
    return "never" if value is None else f"{value:.2f}"


if __name__ == "__main__":
    main(*sys.argv[1:])
