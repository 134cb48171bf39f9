"""Where the shop keeps its data and finds its payments service: read from the environment, once, at start."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True)
class Settings:
    """The shop's configuration; `from_environment` names the variables.

    `data` holds `shop.sqlite` and, if somebody puts one there, `faults.json`. `seed` decides the catalogue and every
    later throw of the dice, so the same requests in the same order meet the same luck.
    """

    data: Path
    payments_url: str
    seed: int

    @classmethod
    def from_environment(cls) -> Self:
        """Settings from `SHOP_DATA`, `SHOP_PAYMENTS_URL` and `SHOP_SEED`; everything has a default."""
        return cls(
            data=Path(os.environ.get("SHOP_DATA", "shop-data")),
            payments_url=os.environ.get("SHOP_PAYMENTS_URL", "http://127.0.0.1:8001"),
            seed=int(os.environ.get("SHOP_SEED", "7")),
        )
