"""`watchkeeper run`: puts the bootstrap on PYTHONPATH and becomes the program, whose signals and exit code are its own.

The bootstrap is a `sitecustomize`, which Python imports before anything of the program; it starts `watchkeeper.launch`.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path

USAGE, CANNOT_EXECUTE, NOT_FOUND = 2, 126, 127  # exit codes as shells have them
PROGRAM_PID = "WATCHKEEPER_RUN_PID"  # of the program itself, which is told about what its children need not hear
BOOTSTRAP = Path(__file__).parent / "bootstrap"
HELP = """\
Usage: watchkeeper run [--] COMMAND [ARGUMENT...]

  Run a Python program with Watchkeeper in it; its code stays as it is.

  watchkeeper run -- uvicorn shop:app
  watchkeeper run -- gunicorn shop:app --workers 4
  watchkeeper run -- flask --app shop run
  watchkeeper run -- python manage.py runserver
  watchkeeper run -- celery -A shop worker
  watchkeeper run -- python script.py

  Options are environment variables: OTEL_SERVICE_NAME names the service,
  OTEL_EXPORTER_OTLP_ENDPOINT says where telemetry goes, for `watchkeeper serve`
  on this machine http://localhost:4318; without it nothing is sent.
  Log lines go to stderr unless WATCHKEEPER_LOG_STREAM says otherwise: stdout is
  the program's own.
"""
_PYTHON = re.compile(r"(python|pypy)[0-9.]*")


def run(arguments: Sequence[str]) -> int:
    """Becomes the command. Returns, with an exit code, only if there is nothing to become; says why on stderr."""
    arguments = list(arguments)
    if arguments[:1] and arguments[0] in {"--help", "-h"}:
        sys.stdout.write(HELP)
        return 0
    if arguments[:1] == ["--"]:
        del arguments[0]
    elif arguments and arguments[0].startswith("-"):
        return _fail(USAGE, f"it has no option {arguments[0]}; use it as in `watchkeeper run -- uvicorn shop:app`")
    if not arguments:
        return _fail(USAGE, "the command is missing; use it as in `watchkeeper run -- uvicorn shop:app`")
    name = arguments[0]
    path = shutil.which(name)
    if path is None:
        path = shutil.which(name, path=str(Path(sys.executable).parent))
        if path is None:
            return _not_found(name)
        arguments[0] = path  # a Python looks for itself, and so for its libraries, by that name on PATH
    for note in _notes(path, arguments):
        _say(note)
    environ = prepared(os.environ)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)  # Python ignores them, and what is ignored outlives the next line
    try:
        os.execve(path, arguments, environ)  # noqa: S606  # replacing this process is the purpose
    except OSError as error:  # of another machine's format, or a script that does not say what runs it
        return _fail(CANNOT_EXECUTE, f"{path} cannot be executed: {error.strerror}")


def prepared(environ: Mapping[str, str]) -> dict[str, str]:
    """The program's environment. Its children inherit it: workers and reloaders are processes of their own."""
    found: MutableMapping[str, str] = dict(environ)
    bootstrap = str(BOOTSTRAP)
    path = [bootstrap, *(part for part in found.get("PYTHONPATH", "").split(os.pathsep) if part != bootstrap)]
    found["PYTHONPATH"] = os.pathsep.join(path) if found.get("PYTHONPATH") else bootstrap
    found[PROGRAM_PID] = str(os.getpid())
    found.setdefault("WATCHKEEPER_LOG_STREAM", "stderr")
    return dict(found)


def _not_found(name: str) -> int:
    if Path(name).is_dir():
        return _fail(CANNOT_EXECUTE, f"{name} is a folder")
    if Path(name).is_file() and name.endswith(".py"):
        return _fail(CANNOT_EXECUTE, f"{name} cannot be executed; use `watchkeeper run -- python {name}`")
    if Path(name).is_file() and os.sep in name:
        return _fail(CANNOT_EXECUTE, f"{name} cannot be executed: it lacks the permission (chmod +x)")
    return _fail(NOT_FOUND, f"there is no command {name!r}, neither on PATH nor beside {sys.executable}")


def _notes(path: str, command: Sequence[str]) -> list[str]:
    """What keeps the program from being watched, though it runs."""
    interpreter = _interpreter(path)
    if interpreter is None:
        return [f"{path} is not a Python program: it runs, and only Python programs that it starts are watched"]
    flag = _ignored_by([*interpreter, *command[1:]] if _PYTHON.fullmatch(Path(path).name) else interpreter)
    if flag:
        return [f"Python's option {flag} leaves out what this needs (PYTHONPATH): the program runs unwatched"]
    return []


def _interpreter(path: str) -> list[str] | None:
    """The Python that runs a file, and its options; None if none does."""
    if _PYTHON.fullmatch(Path(path).name) or _PYTHON.fullmatch(Path(path).resolve().name):
        return [path]
    try:
        with Path(path).open("rb") as file:
            first, second = file.readline(1_024), file.readline(1_024)
    except OSError:
        return None
    if not first.startswith(b"#!"):
        return None
    words = first[2:].decode("utf-8", "replace").split()
    if second.startswith(b"'''exec'"):  # how installers write a path that is too long for the first line
        words = second.decode("utf-8", "replace").replace("'''exec'", "").replace('"$0" "$@"', "").split()
    if words and Path(words[0]).name == "env":
        words = [word for word in words[1:] if not word.startswith("-") and "=" not in word] or words
        return words[:1] if _PYTHON.fullmatch(Path(words[0]).name) else None
    return words if words and _PYTHON.fullmatch(Path(words[0].strip("\"'")).name) else None


def _ignored_by(command: Sequence[str]) -> str:
    """The option of Python's own by which PYTHONPATH or sitecustomize do not count; empty if there is none."""
    options = iter(command[1:])
    for word in options:
        if len(word) < 2 or word[0] != "-" or word[1] == "-":  # noqa: PLR2004  # a dash and a letter
            return ""
        for letter in word[1:]:
            if letter in "EIS":
                return f"-{letter}"
            if letter in "cm":
                return ""
            if letter in "WX":
                if word.endswith(letter):
                    next(options, None)  # its value
                break
    return ""


def _fail(code: int, message: str) -> int:
    _say(message)
    return code


def _say(message: str) -> None:
    if sys.stderr is not None:  # it is where whoever started us has closed it
        sys.stderr.write(f"watchkeeper run: {message}\n")
        sys.stderr.flush()
