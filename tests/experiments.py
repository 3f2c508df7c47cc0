"""Draws `configs/experiments.png` from `configs/experiments.csv`: the loss of each run over its epochs.

python tests/experiments.py
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

import matplotlib as mpl

mpl.use("agg")
import matplotlib.pyplot as plt
from matplotlib.lines import Line2D

CONFIGS = Path(__file__).parent.parent / "configs"

SCORED = {
    "85 % to train on, the next 5 % scored",
    "80 % to train on, the next 10 % scored",
    "validation split of warpeace.yaml",
}
"""The protocols of validation: runs of one text that compare."""

TEXTS = ("tales", "tinyshakespeare", "War and Peace", "enwik6", "Korean short novels", "names")

COLORS = {"RNN": "#c0392b", "GRU": "#2e86c1", "LSTM, one layer": "#f0b27a", "LSTM, two layers": "#1e8449"}


def network(configuration: str) -> tuple[str, int] | None:
    """The kind of network, a key of `COLORS`, and the units per layer; None if none is named."""
    match = re.match(r"(LSTM|GRU|RNN) (\d) × (\d+)", configuration)
    if not match:
        return None
    cell, layers, hidden = match[1], int(match[2]), int(match[3])
    kind = cell if cell != "LSTM" else f"LSTM, {'one layer' if layers == 1 else 'two layers'}"
    return kind, hidden


def main() -> None:
    """Write the picture."""
    with (CONFIGS / "experiments.csv").open(newline="", encoding="utf-8") as file:
        runs = [row for row in csv.DictReader(file) if row["scored"] in SCORED]
    plt.rcParams.update({"font.size": 9, "axes.spines.top": False})
    plt.rcParams.update({"axes.spines.right": False})
    figure, panels = plt.subplots(2, 3, figsize=(10, 5.6), layout="constrained")
    for panel, text in zip(panels.flat, TEXTS, strict=True):
        points: dict[str, list[tuple[float, float, float]]] = {kind: [] for kind in COLORS}
        for run in runs:
            shape = network(run["configuration"])
            if run["text"].removesuffix(", as characters") == text and shape and run["epochs"]:
                points[shape[0]].append((float(run["epochs"]), float(run["loss"]), shape[1] / 6))
        for kind, values in points.items():
            if values:
                epochs, losses, sizes = zip(*values, strict=True)
                panel.scatter(epochs, losses, s=sizes, color=COLORS[kind], alpha=0.6, linewidths=0)
        panel.set_xscale("log")
        panel.xaxis.set_major_formatter("{x:g}")
        panel.xaxis.set_minor_formatter("{x:g}")
        panel.tick_params(which="both", labelsize=7)
        panel.set_title(text, loc="left", fontsize=10)
    for panel in panels[:, 0]:
        panel.set_ylabel("validation, nats per character")
    for panel in panels[1]:
        panel.set_xlabel("epochs")
    handles = [
        Line2D([], [], marker="o", linestyle="", color=color, label=kind) for kind, color in COLORS.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(COLORS), frameon=False)
    figure.savefig(CONFIGS / "experiments.png", dpi=110)


if __name__ == "__main__":
    main()
