"""A made-up day of a small company and the household beside it: who asks which model when. Sends nothing."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

DAY_SECONDS: Final = 86_400.0
_HOUR_SECONDS: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Ask:
    """One request.

    Attributes:
        at: seconds since midnight, within the day.
        client: who asks, for people.
        path: endpoint.
        model: as its client spells it.
        prompt_words: length of what is asked, >= 1.
        answer_tokens: length of the answer, >= 1; embeddings have none.
        stream: whether the answer is wanted piece by piece.
    """

    at: float
    client: str
    path: str
    model: str
    prompt_words: int
    answer_tokens: int
    stream: bool


@dataclass(frozen=True, slots=True)
class Habit:
    """How one client uses one model.

    Attributes:
        client, path, model, stream: as in `Ask`.
        sessions: (from hour, to hour, sessions in between) for each part of the day, in order.
        turns: requests of a session, on average, >= 1.
        pause_seconds: between two requests of a session, on average.
        prompt_words, answer_tokens: of a request, on average.
    """

    client: str
    path: str
    model: str
    sessions: tuple[tuple[float, float, int], ...]
    turns: int
    pause_seconds: float
    prompt_words: int
    answer_tokens: int
    stream: bool = True


HABITS: Final = (
    Habit("home assistant", "/api/chat", "llama3.2:3b", ((6, 9, 14), (9, 17, 10), (17, 23, 34)), 1, 20, 60, 40),
    Habit("office chat", "/api/chat", "llama3.1:8b", ((8, 12, 12), (12, 13, 1), (13, 18, 14)), 5, 70, 300, 250),
    Habit("editor", "/v1/chat/completions", "qwen3:8b", ((9, 12, 7), (13, 18, 9)), 14, 25, 900, 90),
    Habit("search", "/api/embed", "nomic-embed-text", ((8, 18, 40), (18, 23, 6)), 3, 6, 200, 1, stream=False),
    Habit("index of the files", "/api/embed", "nomic-embed-text", ((2, 2.2, 1),), 120, 4, 800, 1, stream=False),
    Habit("mail drafts", "/api/generate", "phi4:14b", ((10, 12, 3), (14, 16, 4)), 3, 150, 500, 400, stream=False),
    Habit("reports", "/api/chat", "gemma3:27b", ((9.4, 9.8, 1), (11.3, 11.7, 1), (16, 17, 1)), 2, 240, 1500, 700),
    Habit("homework", "/api/chat", "gemma3:4b", ((15, 19, 6),), 6, 90, 150, 200),
    Habit("evening at home", "/v1/chat/completions", "deepseek-r1:14b", ((19, 23, 5),), 4, 110, 200, 500),
)
"""Together they want about three times the memory of a GPU with 24 GiB, though never all at once."""


def day(seed: int) -> list[Ask]:
    """Return the requests of one day in the order of time, some 800; the same for the same seed."""
    rng = random.Random(seed)  # noqa: S311 - a simulation
    asks = [ask for habit in HABITS for start in _starts(habit, rng) for ask in _session(habit, start, rng)]
    return sorted((ask for ask in asks if ask.at < DAY_SECONDS), key=lambda ask: ask.at)


def _starts(habit: Habit, rng: random.Random) -> list[float]:
    """When its sessions begin: spread by chance over each part of the day."""
    return [rng.uniform(begin, end) * _HOUR_SECONDS for begin, end, sessions in habit.sessions for _ in range(sessions)]


def _session(habit: Habit, start: float, rng: random.Random) -> list[Ask]:
    turns = max(1, round(rng.gauss(habit.turns, habit.turns / 3)))
    at, asks = start, []
    for _ in range(turns):
        words = max(1, round(rng.lognormvariate(0, 0.5) * habit.prompt_words))
        tokens = max(1, round(rng.lognormvariate(0, 0.5) * habit.answer_tokens))
        asks.append(Ask(at, habit.client, habit.path, habit.model, words, tokens, habit.stream))
        at += rng.expovariate(1 / habit.pause_seconds)
    return asks
