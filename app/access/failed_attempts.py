"""Answer wrong keys and tokens late, by address."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

FREE_ATTEMPTS: Final = 5
"""Failures within `RECENT_S` that are answered at once: somebody mistypes, or a job restarts."""
FIRST_DELAY_S: Final = 0.1
"""Delay of the first failure after those; each further one doubles it."""
MAX_DELAY_S: Final = 5.0
RECENT_S: Final = 60.0
MAX_ADDRESSES: Final = 4096
"""Those that failed last; one takes less than 1 kB."""
_MAX_ADDRESS_LENGTH: Final = 64
_MAX_DOUBLINGS: Final = 6  # 6.4 s, more than the maximum
_NETWORK_BITS: Final = 64  # of IPv6: a subscriber has a whole /64 and can change the rest at will


class FailedAttempts:
    """Counts recent failures by address, and says how late the next answer is to be.

    Only failures are counted and delayed. A right key is answered at once, so guesses cannot lock
    anybody out, also not behind a proxy, where all clients share an address.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Start without failures.

        Args:
            clock: seconds, monotonic.
        """
        self._clock = clock
        self._failed_at: OrderedDict[str, deque[float]] = OrderedDict()

    def delay_s(self, address: str | None) -> float:
        """Count a failure.

        Args:
            address: IP address of the client; IPv6 counts by /64. All without one count together.

        Returns:
            Seconds by which the answer is to be delayed: 0 for the first `FREE_ATTEMPTS` within
            `RECENT_S`, then `FIRST_DELAY_S`, doubled each time, up to `MAX_DELAY_S`.
        """
        now = self._clock()
        client = _client_of(address)
        failed_at = self._failed_at.get(client)
        if failed_at is None:
            failed_at = deque(maxlen=FREE_ATTEMPTS + _MAX_DOUBLINGS)
            self._failed_at[client] = failed_at
        self._failed_at.move_to_end(client)
        if len(self._failed_at) > MAX_ADDRESSES:
            self._failed_at.popitem(last=False)
        n_recent = sum(now - at < RECENT_S for at in failed_at)
        failed_at.append(now)
        if n_recent < FREE_ATTEMPTS:
            return 0.0
        return min(FIRST_DELAY_S * 2.0 ** (n_recent - FREE_ATTEMPTS), MAX_DELAY_S)

    def __len__(self) -> int:
        """Addresses that are remembered."""
        return len(self._failed_at)


def _client_of(address: str | None) -> str:
    """What of an address stands for one client."""
    if address is None:
        return ""
    if ":" not in address:  # IPv4, which has one spelling, or a name, as of a test client
        return address[:_MAX_ADDRESS_LENGTH]
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address[:_MAX_ADDRESS_LENGTH]
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return str(ip.ipv4_mapped)
        # Without the zone (fe80::1%eth0), of which an address has any number.
        network = int(ip) >> (ip.max_prefixlen - _NETWORK_BITS)
        return f"{network:x}::/{_NETWORK_BITS}"
    return str(ip)
