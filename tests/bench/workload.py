"""Who asks which model when: a made-up but repeatable stream of requests. Never sends one, and never reads a clock.

A user works in sessions: some requests to one model with short pauses, then a longer pause and another model (or the
same again). Which model a session is about follows Zipf's law over the models in an order that the seed shuffles.
Measured traces look like this; only the pauses are shorter, so that hundreds of requests fit into some minutes.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

_ZIPF_EXPONENT = 1.0
_SESSION_GOES_ON = 0.75  # so a session has 4 requests on average
_PAUSE_WITHIN = (0.2, 1.5)
_PAUSE_BETWEEN = (1.0, 8.0)


@dataclass(frozen=True, slots=True)
class Request:
    """One request of a user.

    Attributes:
        model: what it asks.
        pause_seconds: how long the user waits after the answer before; for the first one, from the start.
        tokens: length of the answer.
    """

    model: str
    pause_seconds: float
    tokens: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What does not depend on the seed.

    Attributes:
        requests: how many in all.
        users: how many work at the same time; all like the same models best.
        pause_factor: 1.0 for the pauses above; real ones are longer.
        tokens: lengths of answers, each as likely as the others.
    """

    requests: int
    users: int
    pause_factor: float
    tokens: Sequence[int]

    def of_seed(self, models: Sequence[str], seed: int) -> list[list[Request]]:
        """The requests of each user; the same seed gives the same ones."""
        shuffled = list(models)
        random.Random(seed).shuffle(shuffled)
        shares = [len(range(number, self.requests, self.users)) for number in range(self.users)]
        return [
            self._one_user(shuffled, share, random.Random(f"{seed}/{number}")) for number, share in enumerate(shares)
        ]

    def _one_user(self, models: Sequence[str], requests: int, dice: random.Random) -> list[Request]:
        weights = [1 / rank**_ZIPF_EXPONENT for rank in range(1, len(models) + 1)]
        planned: list[Request] = []
        while len(planned) < requests:
            [model] = dice.choices(models, weights)
            pause = dice.uniform(*_PAUSE_BETWEEN)
            while True:
                planned.append(Request(model, pause * self.pause_factor, dice.choice(self.tokens)))
                if dice.random() > _SESSION_GOES_ON:
                    break
                pause = dice.uniform(*_PAUSE_WITHIN)
        return planned[:requests]
