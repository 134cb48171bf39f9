"""mcp: what is asked of the tools of the application's own server, `MCPServer` and the low-level `Server` alike.

The package makes its spans by itself (`tools/call weather` of the server, `MCP send tools/call weather` of a client),
by OpenTelemetry's conventions, so ours counts, and tells its span which exception made a tool fail. Tested in memory,
over stdio and over streamable HTTP.

A tool's name is what a client says it is. So it is a label only once the server has listed or run a tool of that name;
all others are counted as `unknown`.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any
from weakref import WeakKeyDictionary

from opentelemetry.trace import get_current_span

from watchkeeper.export.boundary import boundary
from watchkeeper.integrations.part import requests
from watchkeeper.integrations.patching import Patches, argument
from watchkeeper.language_models.answer import get, items, text
from watchkeeper.metrics.sets import mcp_tools
from watchkeeper.tracing.span import type_name

UNKNOWN = "unknown"
TOOL_ERROR = "tool_error"  # the convention's word for a result that says isError
_MOST_TOOLS = 1_000  # of one server


class _Invocation:
    """What becomes known of a tool's invocation while it runs."""

    __slots__ = ("error_type", "tool")

    def __init__(self) -> None:
        self.tool = ""  # its name, once it is found
        self.error_type = ""


_patches = Patches()
_current: ContextVar[_Invocation | None] = ContextVar("watchkeeper-mcp-invocation", default=None)
_known: WeakKeyDictionary[Any, set[str]] = WeakKeyDictionary()  # tools by server


def install() -> None:
    """Counts every invocation from now on, of servers that are running too."""
    if _patches:
        return
    try:
        _patches.wrap("mcp.server.runner", "ServerRunner._on_request", _on_request)
        _patches.wrap("mcp.server.mcpserver.tools.base", "Tool.run", _run)
    except Exception:
        _patches.undo()  # all or nothing
        raise


def uninstall() -> None:
    """Stops that."""
    _patches.undo()


async def _on_request(wrapped: Any, runner: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Around every request that a server gets."""
    method = argument(args, kwargs, 1, "method")
    if method == "tools/list":
        listed = await wrapped(*args, **kwargs)
        _guarded(_remember, runner, [text(tool, "name") for tool in items(listed, "tools")])
        return listed
    if method != "tools/call":
        return await wrapped(*args, **kwargs)
    invocation = _Invocation()
    token = _current.set(invocation)
    clock = requests.settings.clock
    started = clock.monotonic_ns()
    try:
        result = await wrapped(*args, **kwargs)
    except BaseException as error:
        invocation.error_type = _error_type(error)
        raise
    else:
        if get(result, "isError") is True:
            invocation.error_type = invocation.error_type or TOOL_ERROR
        else:
            invocation.error_type = ""
        return result
    finally:
        _current.reset(token)
        asked = text(argument(args, kwargs, 2, "params"), "name")
        _guarded(_count, runner, invocation, asked, (clock.monotonic_ns() - started) / 1e9)


async def _run(wrapped: Any, tool: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Around a tool of an MCPServer: here its own exception can still be seen."""
    invocation = _current.get()
    if invocation is None:  # called by the application itself, or by another tool
        return await wrapped(*args, **kwargs)
    invocation.tool = tool.name
    token = _current.set(None)
    try:
        return await wrapped(*args, **kwargs)
    except Exception as error:
        cause = error.__cause__ or error
        invocation.error_type = _error_type(cause)
        if type(error).__name__ == "UnexpectedToolError":
            get_current_span().record_exception(cause)
        raise
    finally:
        _current.reset(token)


def _error_type(error: BaseException) -> str:
    """The code of an error of the protocol, else the exception's name."""
    code = get(error, "error", "code")
    return str(code) if isinstance(code, int) else type_name(error)


def _remember(runner: Any, names: list[str]) -> None:
    known = _known.setdefault(runner.server, set())
    known.update(names[: max(0, _MOST_TOOLS - len(known))])


def _count(runner: Any, invocation: _Invocation, asked: str, seconds: float) -> None:
    if not invocation.tool and asked and not invocation.error_type:
        _remember(runner, [asked])
    tool = invocation.tool or (asked if asked in _known.get(runner.server, ()) else UNKNOWN)
    mcp_tools().invocation(tool, seconds, invocation.error_type)


def _guarded(act: Any, *args: Any) -> None:
    try:
        act(*args)
    except Exception as failure:  # noqa: BLE001  # the boundary
        boundary.failed("mcp", failure)
