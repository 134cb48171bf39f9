"""`file_sd_configs`: target groups in JSON or YAML files, read again when they change."""

from __future__ import annotations

import asyncio
import glob
import re
from dataclasses import dataclass
from pathlib import Path

from watchkeeper_server.receive.scrape.discovery.groups import Publish, Sleep, TargetGroup, groups_from_json
from watchkeeper_server.receive.scrape.discovery.static import StaticConfig
from watchkeeper_server.receive.scrape.units import Milliseconds
from watchkeeper_server.receive.scrape.yaml_reader import ConfigError, FilePath, read_document
from watchkeeper_server.telemetry import logger

_NAME = re.compile(r"[^*]*(\*[^/]*)?\.(json|yml|yaml|JSON|YML|YAML)")
# Changes are noticed this soon, whatever the refresh interval.
_LOOK_SECONDS = 5.0
_REFRESH = Milliseconds(300_000)


@dataclass(frozen=True)
class FileDiscovery:
    """Files to read, by name or pattern."""

    files: tuple[FilePath, ...]
    refresh_interval: Milliseconds = _REFRESH

    def __post_init__(self) -> None:
        if not self.files:
            raise ValueError("file service discovery config must contain at least one path name")
        for name in self.files:
            if not _NAME.fullmatch(name):
                raise ValueError(f'path name "{name}" is not valid for file discovery')

    async def discover(self, publish: Publish, sleep: Sleep) -> None:
        """Publish the files' groups; a file that cannot be read keeps those it had."""
        known: dict[str, tuple[int, list[TargetGroup]]] = {}
        first = True
        while True:
            found = await asyncio.to_thread(self._read, known)
            if found != known or first:
                known, first = found, False
                publish([group for _, groups in found.values() for group in groups])
            await sleep(min(_LOOK_SECONDS, self.refresh_interval / 1000))

    def _read(self, known: dict[str, tuple[int, list[TargetGroup]]]) -> dict[str, tuple[int, list[TargetGroup]]]:
        """Every file's change time and groups; what has not changed is not read again."""
        found = {}
        for name in sorted({name for pattern in self.files for name in glob.glob(pattern)}):  # noqa: PTH207  absolute
            before = known.get(name)
            try:
                changed = Path(name).stat().st_mtime_ns
                found[name] = before if before and before[0] == changed else (changed, read_groups(Path(name)))
            except (OSError, ValueError, ConfigError) as error:
                logger.warning("file_sd_configs: %s is left as it was: %s", name, error)
                if before:
                    found[name] = before
        return found


def read_groups(file: Path) -> list[TargetGroup]:
    """The target groups of a file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not what its name says.
        ConfigError: likewise.
    """
    text = file.read_text(encoding="utf-8")
    if file.suffix.lower() == ".json":
        return groups_from_json(text, {"__meta_filepath": str(file)})
    document = read_document(file, text)
    if document.root is None:
        return []
    entries: tuple[StaticConfig, ...] = document.decode(document.root, tuple[StaticConfig, ...])
    return [entry.group(__meta_filepath=str(file)) for entry in entries]
