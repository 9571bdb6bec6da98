"""One limit of requests for all processes, kept by Redis."""

import time
from contextlib import suppress

from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.commands.core import Script
from redis.retry import Retry

from workers.fleet.errors import NotSent

PATIENCE = 30.0  # seconds: a turn that is further away is not waited for
TIMEOUT = 3.0  # seconds: Redis answers at once, or not

# The key holds when the next turn begins, in microseconds of Redis' own clock. A turn that is taken is waited for by
# the caller; formatted, for Lua would write 14 digits of its 16.
TAKE = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local turn, burst, patience = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local next = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now)
local wait = next - now - (burst - 1) * turn
if wait > patience then return -math.ceil(wait) end
redis.call('SET', KEYS[1], string.format('%.0f', next + turn), 'PX', math.ceil((next + turn - now) / 1000) + 1000)
return math.max(0, math.ceil(wait))
"""
HOLD = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local until_ = now + tonumber(ARGV[3]) + (tonumber(ARGV[2]) - 1) * tonumber(ARGV[1])
local next = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), until_)
redis.call('SET', KEYS[1], string.format('%.0f', next), 'PX', math.ceil((next - now) / 1000) + 1000)
"""


def microseconds(seconds: float) -> int:
    return round(seconds * 1_000_000)


class Limit:
    """`rate` turns a second, in the order in which they were asked for, and `burst` at once after a pause."""

    def __init__(self, redis_url: str, key: str, rate: float, burst: int) -> None:
        self._key, self._turn, self._burst = key, microseconds(1 / rate), burst
        # Once more at once, for Redis may have been restarted; a turn that was taken in vain is only lost.
        again = Retry(NoBackoff(), 1)
        redis = Redis.from_url(redis_url, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT, retry=again)
        self._take, self._hold = redis.register_script(TAKE), redis.register_script(HOLD)

    def take(self) -> None:
        """Return when it is this call's turn."""
        wait = self._run(self._take, microseconds(PATIENCE))
        if wait < 0:
            raise NotSent(f"The limit of requests is used up for {-wait / 1e6:.0f} s; nothing was sent.")
        time.sleep(wait / 1e6)

    def hold(self, seconds: float) -> None:
        """No turn for anyone before. Without Redis there is none anyway: what was sent is not called back."""
        with suppress(NotSent):
            self._run(self._hold, microseconds(seconds))

    def _run(self, script: Script, last: int) -> int:
        try:
            return int(script(keys=[self._key], args=[self._turn, self._burst, last]) or 0)
        except RedisError as error:
            raise NotSent(
                f"The Redis that keeps the limit of requests does not answer ({type(error).__name__}); "
                "nothing was sent. REDIS_URL says where it is."
            ) from error
