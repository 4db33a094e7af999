"""The decision mathematics: from usage, sizes, load times and memory to decisions.

Never reads a clock, opens a socket or keeps what it was told, except in `UsageBook`, which the caller owns.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from proxy.policy.adaptive import Adaptive
from proxy.policy.book import UsageBook
from proxy.policy.contexts import unified
from proxy.policy.fixed import Fixed
from proxy.policy.interface import Policy
from proxy.policy.lru import Lru
from proxy.policy.memory import Ahead, Memory, Need, Resident, Room, Soon, Wanted, WarmUp
from proxy.policy.ranked import Kept, ranked_keep_alive
from proxy.policy.ttl import Stay, Ttl
from proxy.policy.warm import HORIZON_SECONDS as WARM_UP_HORIZON_SECONDS

policies: Mapping[str, Callable[[], Policy]] = MappingProxyType({"adaptive": Adaptive, "fixed": Fixed, "lru": Lru})
"""Every policy by its name in the settings, with its defaults."""

__all__ = [
    "WARM_UP_HORIZON_SECONDS",
    "Adaptive",
    "Ahead",
    "Fixed",
    "Kept",
    "Lru",
    "Memory",
    "Need",
    "Policy",
    "Resident",
    "Room",
    "Soon",
    "Stay",
    "Ttl",
    "UsageBook",
    "Wanted",
    "WarmUp",
    "policies",
    "ranked_keep_alive",
    "unified",
]
