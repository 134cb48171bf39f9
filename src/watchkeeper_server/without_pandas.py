"""Arrow without pandas.

Arrow imports pandas, where it is installed, when it makes its first array out of Python objects, only to find out that
they are not pandas' own. It always is installed, as the embedded engine asks for it; a server never uses it, and it
would take a quarter of a second and 40 MB.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

import pyarrow as pa


class _Hidden(MetaPathFinder):
    def find_spec(
        self, fullname: str, _path: Sequence[str] | None, _target: ModuleType | None = None, /
    ) -> ModuleSpec | None:
        if fullname == "pandas":
            raise ModuleNotFoundError("Arrow does without it", name=fullname)
        return None


def spare_pandas() -> None:
    """Have Arrow look for pandas now, once and in vain; whoever else imports it gets it.

    For the process' main function, before the first array is made: `Table.to_pandas` will not work in this process.
    """
    hidden = _Hidden()
    sys.meta_path.insert(0, hidden)
    try:
        pa.array([0])
    finally:
        sys.meta_path.remove(hidden)
