"""Rows that the tests of the usage history have in common."""

import time

from proxy.store.row import RequestRow


def row(at: float | None = None, model: str = "llama3:latest") -> RequestRow:
    """A row that arrived now, if not told otherwise: older ones than the retention are pruned."""
    return RequestRow(
        at=time.time() if at is None else at,
        model=model,
        endpoint="/api/chat",
        runner_options_json='{"num_ctx":8192}',
        outcome="cold",
        ending="answered",
        status=200,
        ttft_seconds=6.5,
        e2e_seconds=9.0,
        wait_seconds=6.2,
        load_seconds=None,
        prompt_tokens=100,
        generated_tokens=40,
        prompt_seconds=0.5,
        generation_seconds=2.0,
    )
