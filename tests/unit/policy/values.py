"""Values for the policy's tests: a resident of 4 GiB that Ollama believes in, unless a test says otherwise."""

from proxy.policy import Memory, Resident

GIB = 2**30


def resident(  # noqa: PLR0913 - a test names only what matters to it
    model: str,
    gib: float = 4,
    *,
    believed_gib: float | None = 100,
    loss: float = 1.0,
    chance: float = 0.0,
    load: float = 5.0,
    idle: float = 60.0,
    remaining: float = 0.0,
    pinned: bool = False,
    used_at: float = 0.0,
) -> Resident:
    return Resident(
        model=model,
        bytes=round(gib * GIB),
        believed_bytes=None if believed_gib is None else round(believed_gib * GIB),
        loss_seconds=loss,
        return_probability=chance,
        load_seconds=load,
        idle_seconds=idle,
        remaining_seconds=remaining,
        pinned=pinned,
        last_used_at=used_at,
    )


def memory(*residents: Resident, budget_gib: float | None = 24, max_models: int = 3, settle: float = 0.5) -> Memory:
    budget_bytes = None if budget_gib is None else round(budget_gib * GIB)
    return Memory(budget_bytes=budget_bytes, max_models=max_models, settle_seconds=settle, residents=residents)
