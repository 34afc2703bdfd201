"""Ways to fuzz: bounded and always the same (`make coverage`; the first of them, `make check`), or long and by chance
(`make fuzz`)."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]  # a whole run is not quick

settings.register_profile(
    "bounded", max_examples=25, derandomize=True, deadline=None, database=None, suppress_health_check=SLOW
)
settings.register_profile("brief", parent=settings.get_profile("bounded"), max_examples=8)
settings.register_profile("long", max_examples=4_000, deadline=None, suppress_health_check=SLOW)
settings.load_profile("bounded")
