"""One line of the usage history. Never holds a prompt, an answer or any other text of a client but the model's name."""

from __future__ import annotations

from typing import NamedTuple

from proxy.domain.access import KEYLESS


class RequestRow(NamedTuple):
    """A model request that is over.

    Attributes:
        at: when it arrived, unix seconds.
        model: canonical name, at most 255 characters.
        endpoint: path of the endpoint.
        runner_options_json: the options that a runner is started with, as a JSON object with sorted keys.
        outcome: warm, cold or passthrough.
        ending: answered, client_gone or upstream_error.
        status: HTTP status; 0: none.
        ttft_seconds: arrival to first byte of the answer's body; None: there was none.
        e2e_seconds: arrival to end.
        wait_seconds: how much of it the request was held for a load.
        load_seconds: what Ollama says it loaded for this request, like the figures below; None: not told.
        client: name of the client's key, as the settings say it, or that of all without one.
    """

    at: float
    model: str
    endpoint: str
    runner_options_json: str
    outcome: str
    ending: str
    status: int
    ttft_seconds: float | None
    e2e_seconds: float
    wait_seconds: float
    load_seconds: float | None
    prompt_tokens: int | None
    generated_tokens: int | None
    prompt_seconds: float | None
    generation_seconds: float | None
    client: str = KEYLESS
