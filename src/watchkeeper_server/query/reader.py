"""What the read path asks of the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa

# Runs the named statement with its parameters, of which one that is None does not restrict, and answers its columns.
# Raises StoreBusyError when it ran over a limit and StoreError for any other failure.
Read = Callable[[str, Mapping[str, Any]], pa.Table]
