import json
import math
from dataclasses import asdict

import pytest

from proxy.domain.snapshot import EngineSnapshot, ModelSnapshot, ResidentSnapshot

RESIDENT = ResidentSnapshot(
    model="llama3:latest",
    bytes=5_000,
    vram_bytes=5_000,
    busy=0,
    expires_at=None,
    keep_alive=-1,
    ttl_seconds=None,
    uses_per_hour=31.0,
    load_seconds=6.2,
    loss_seconds=None,
    worth=0.9,
    pinned=True,
    reason="pinned",
)


def test_a_snapshot_is_valid_json_even_where_a_model_is_kept_for_ever() -> None:
    snapshot = EngineSnapshot(
        at=1e9,
        budget_bytes=None,
        budget_source="being learnt",
        max_models=3,
        used_bytes=5_000,
        headroom_bytes=None,
        price=0.005,
        settle_seconds=1.5,
        upstream_known=True,
        waiting=0,
        longest_wait_seconds=0.0,
        in_flight=0,
        operation=None,
        residents=(RESIDENT,),
        models=(ModelSnapshot("llama3:latest", 5_000, 6.2, 31.0, None),),
    )
    assert json.loads(json.dumps(asdict(snapshot), allow_nan=False))["residents"][0]["expires_at"] is None


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_a_number_that_json_cannot_say_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match=f"last_used_at must be finite, or None for what has no number, got {value}"):
        ModelSnapshot("llama3:latest", None, None, 0.0, value)
