"""What a fault is: something that strikes a scene, may end, and leaves the table to say what clients see."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.scene import Scene


class Fault:
    """Nothing goes wrong.

    Attributes:
        strikes_sent: where the model is warm it strikes when the requests are on their way, not before they are sent.
        seconds: it ends so long after what was held goes on; None: when every request has its outcome.
        own_process: it needs a keepwarm in a process of its own.
    """

    strikes_sent = False
    seconds: float | None = None
    own_process = False

    def prepare(self, history: Path) -> None:
        """Do what must be done before keepwarm starts."""

    async def strike(self, scene: Scene) -> None:
        """Begin."""

    async def end(self, scene: Scene) -> None:
        """End."""

    def check(self, history: Path) -> None:
        """Look at what is left when keepwarm has ended."""
