"""Judges loads ahead of use: was the model asked for soon, while it was still there? Begins nothing.

A model whose warm-ups were mostly in vain is loaded ahead no more; what would have come of it is judged on, so that it
may be again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.domain.effects import WarmedUp

if TYPE_CHECKING:
    from proxy.engine.state import Learnt, State

USED_WITHIN_SECONDS = 120.0
"""A model that was loaded ahead has to be asked for within this time, or it was in vain."""

JUDGED = 10
_LEAST_USED = 4


def pays(learnt: Learnt) -> bool:
    """Whether enough of its last ten warm-ups were used, or there were fewer than ten."""
    return len(learnt.warm_ups) < JUDGED or sum(learnt.warm_ups) >= _LEAST_USED


def undecided(learnt: Learnt) -> bool:
    """Whether a warm-up of it is not judged yet, carried out or not."""
    return learnt.warmed_at is not None


def expect(learnt: Learnt, at: float, *, carried_out: bool) -> None:
    """A warm-up is decided on: from now on the model has to be asked for."""
    learnt.warmed_at, learnt.warmed = at, carried_out


def asked(state: State, model: str, learnt: Learnt, at: float) -> None:
    """The model is asked for."""
    if learnt.warmed_at is not None:
        judge(state, model, learnt, used=at - learnt.warmed_at <= USED_WITHIN_SECONDS)


def overdue(state: State, model: str, learnt: Learnt, at: float) -> None:
    """Time has passed: what was not asked for was in vain."""
    if learnt.warmed_at is not None and at - learnt.warmed_at > USED_WITHIN_SECONDS:
        judge(state, model, learnt, used=False)


def in_vain(state: State, model: str, learnt: Learnt) -> None:
    """The load failed, or the model has left before anyone asked for it."""
    if learnt.warmed_at is not None and learnt.warmed:
        judge(state, model, learnt, used=False)


def judge(state: State, model: str, learnt: Learnt, *, used: bool) -> None:
    """Note what came of a warm-up; only one that was carried out is told to observers."""
    learnt.warmed_at = None
    learnt.warm_ups.append(used)
    if learnt.warmed:
        state.emit(WarmedUp(model, used))
