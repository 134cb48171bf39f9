"""What goes wrong in the shop, and how often.

Real services fail a little all the time, so these do too. `faults.json` in the data folder changes any of it while
the shop runs: `{"card_declined": 0.5}` declines every second card from the next request on, and removing the file
brings the defaults back.
"""

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

import watchkeeper as wk

log = wk.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Faults:
    """Rates are probabilities from 0 to 1; names that end in `_seconds` are durations."""

    card_declined: float = 0.06
    payment_slow: float = 0.08
    payment_slow_seconds: float = 1.5
    payment_broken: float = 0.015
    receipt_failed: float = 0.05
    report_seconds: float = 1.2

    @classmethod
    def parse(cls, text: str) -> Self:
        """Faults from a JSON object of some of the fields; the others keep their defaults.

        Raises:
            ValueError: the text is no JSON object, or a field is unknown or out of range.
        """
        given = json.loads(text)
        if not isinstance(given, dict):
            raise ValueError("expected a JSON object of fault names and numbers")  # noqa: TRY004  the text is at fault
        known = [field.name for field in fields(cls)]
        for name, value in given.items():
            if name not in known:
                raise ValueError(f"there is no fault {name!r}; there are {', '.join(known)}")
            limit = 60.0 if name.endswith("_seconds") else 1.0
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= limit:
                raise ValueError(f"{name} must be a number from 0 to {limit:g}, not {value!r}")
        return cls(**given)


class FaultFile:
    """The faults of a file that may appear, change and vanish at any time; a bad file changes nothing and is logged."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._faults = Faults()

    def current(self) -> Faults:
        """The faults as of now. Costs one `stat` unless the file changed."""
        try:
            stat = self._path.stat()
            seen = (stat.st_mtime_ns, stat.st_size)
            if seen != self._seen:
                self._seen = seen
                self._faults = Faults.parse(self._path.read_text())
                log.info("faults changed", file=str(self._path))
        except FileNotFoundError:
            self._seen, self._faults = None, Faults()
        except (OSError, ValueError) as error:
            log.warning("faults not changed", file=str(self._path), reason=str(error))
        return self._faults
