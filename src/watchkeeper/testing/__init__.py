"""For tests of applications: what the SDK would have sent, on a clock that the test turns.

Example:
    >>> with testing.capture() as seen:
    ...     response = client.post("/orders")
    >>> print(seen.tree())
    POST /orders
      charge card
    >>> seen.line("order placed").fields["order_id"]
    7
    >>> seen.increase("orders_total", status="paid")
    1.0

`pytest_plugins = ["watchkeeper.testing.plugin"]` gives pytest the fixture `seen`.
"""

from watchkeeper.testing.captured import Captured
from watchkeeper.testing.capturing import capture
from watchkeeper.testing.deterministic import FakeClock, SequentialIds

__all__ = ["Captured", "FakeClock", "SequentialIds", "capture"]
