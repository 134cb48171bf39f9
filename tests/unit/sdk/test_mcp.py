from __future__ import annotations

import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from mcp import Client, MCPError, StdioServerParameters, stdio_client
from mcp.server import Server
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import CallToolResult, ListToolsResult, TextContent, Tool
from opentelemetry.trace import SpanKind, StatusCode

import watchkeeper as wk
from watchkeeper.integrations import mcp as mcp_integration
from watchkeeper.testing import Captured


def invocations(tool: str, status: str = "ok") -> float:
    return Captured.metric("mcp_tool_invocations_total", tool=tool, status=status) or 0.0


def errors(tool: str, kind: str) -> float:
    return Captured.metric("mcp_tool_errors_total", tool=tool, type=kind) or 0.0


def weather_server() -> MCPServer:
    server = MCPServer("weather")

    @server.tool()
    def weather(city: str) -> str:
        return f"Sunny in {city}"

    @server.tool()
    async def crashing() -> str:
        raise LookupError("secret of the server")

    @server.tool()
    async def refusing() -> str:
        raise ToolError("no such city")

    @server.tool()
    async def travelling() -> str:
        return str(await server.call_tool("weather", {"city": "Ulm"}))

    return server


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_each_invocation_is_counted_and_its_span_is_the_packages_own(seen: Captured, mode: str) -> None:
    before = invocations("weather")
    async with Client(weather_server(), mode=mode) as client:
        result = await client.call_tool("weather", {"city": "Ulm"})
    assert result.content == [TextContent(type="text", text="Sunny in Ulm")]
    assert invocations("weather") == before + 1
    span = seen.span("tools/call weather")
    assert span.kind is SpanKind.SERVER
    assert span.attributes["gen_ai.tool.name"] == "weather"
    assert "Ulm" not in str([(span.name, span.attributes, span.events) for span in seen.spans])


async def test_a_clients_call_is_a_client_span_that_carries_the_trace_on(seen: Captured) -> None:
    async with Client(weather_server(), mode="legacy") as client:
        with wk.span("work") as work:
            await client.call_tool("weather", {"city": "Ulm"})
    calling, called = seen.span("MCP send tools/call weather"), seen.span("tools/call weather")
    assert (calling.kind, calling.parent_id) == (SpanKind.CLIENT, work.span_id)
    assert (called.trace_id, called.parent_id) == (calling.trace_id, calling.span_id)


async def test_a_tool_that_raises_is_counted_by_its_exception_which_the_span_keeps(seen: Captured) -> None:
    before = errors("crashing", "LookupError"), invocations("crashing", "error")
    async with Client(weather_server()) as client:
        result = await client.call_tool("crashing", {})
    assert result.is_error
    assert (errors("crashing", "LookupError"), invocations("crashing", "error")) == (before[0] + 1, before[1] + 1)
    span = seen.span("tools/call crashing")
    assert span.status_code is StatusCode.ERROR
    (event,) = span.events or []
    assert event.attributes["exception.type"] == "LookupError"


async def test_a_tool_that_refuses_is_counted_and_is_no_exception_of_the_span(seen: Captured) -> None:
    kind = "mcp.server.mcpserver.exceptions.ToolError"
    before = errors("refusing", kind)
    async with Client(weather_server()) as client:
        assert (await client.call_tool("refusing", {})).is_error
    assert errors("refusing", kind) == before + 1
    assert not seen.span("tools/call refusing").events


async def test_arguments_that_do_not_fit_are_a_failed_invocation(seen: Captured) -> None:
    before = invocations("weather", "error")
    async with Client(weather_server()) as client:
        assert (await client.call_tool("weather", {"town": "Ulm"})).is_error
    assert invocations("weather", "error") == before + 1


async def test_a_tool_that_uses_another_is_one_invocation(seen: Captured) -> None:
    before = invocations("travelling"), invocations("weather")
    async with Client(weather_server()) as client:
        assert not (await client.call_tool("travelling", {})).is_error
    assert (invocations("travelling"), invocations("weather")) == (before[0] + 1, before[1])


async def test_what_the_application_calls_by_itself_is_no_invocation(seen: Captured) -> None:
    before = invocations("weather")
    await weather_server().call_tool("weather", {"city": "Ulm"})
    assert invocations("weather") == before


async def test_tools_that_do_not_exist_make_no_series(seen: Captured) -> None:
    before = invocations("unknown", "error")
    async with Client(weather_server()) as client:
        for name in ("w1", "w2"):
            with suppress(MCPError):
                await client.call_tool(name, {})
    assert invocations("unknown", "error") == before + 2
    assert Captured.metric("mcp_tool_invocations_total", tool="w1", status="error") is None


def plain_server() -> Server[Any]:
    async def call(_context: Any, params: Any) -> CallToolResult:
        if params.name == "broken":
            raise RuntimeError("broken")
        return CallToolResult(
            content=[TextContent(type="text", text="done")], is_error=params.name.startswith("failing")
        )

    async def listed(_context: Any, _params: Any) -> ListToolsResult:
        schema: dict[str, Any] = {"type": "object"}
        return ListToolsResult(tools=[Tool(name=name, input_schema=schema) for name in ("broken", "failing")])

    return Server("plain", on_call_tool=call, on_list_tools=listed)


async def test_tools_of_a_low_level_server_are_named_once_it_listed_or_ran_them(seen: Captured) -> None:
    before = invocations("plain-tool"), errors("failing", "tool_error"), invocations("unknown", "error")
    async with Client(plain_server()) as client:
        assert not (await client.call_tool("plain-tool", {})).is_error
        await client.list_tools()
        assert (await client.call_tool("failing", {})).is_error
        assert (await client.call_tool("failing-unlisted", {})).is_error
    after = invocations("plain-tool"), errors("failing", "tool_error"), invocations("unknown", "error")
    assert after == tuple(count + 1 for count in before)


async def test_a_handler_that_raises_is_a_failed_invocation(seen: Captured) -> None:
    async with Client(plain_server()) as client:
        await client.list_tools()
        before = invocations("broken", "error")
        with pytest.raises(MCPError):
            await client.call_tool("broken", {})
    assert invocations("broken", "error") == before + 1
    assert errors("broken", "RuntimeError") >= 1


async def test_other_requests_are_not_counted(seen: Captured) -> None:
    before = invocations("unknown"), invocations("unknown", "error")
    async with Client(weather_server()) as client:
        assert [tool.name for tool in (await client.list_tools()).tools][:1] == ["weather"]
    assert (invocations("unknown"), invocations("unknown", "error")) == before


async def test_shutdown_gives_the_package_back(seen: Captured) -> None:
    before = invocations("weather")
    wk.shutdown()
    async with Client(weather_server()) as client:
        await client.call_tool("weather", {"city": "Ulm"})
    assert invocations("weather") == before


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """The application on a port of its own."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="on"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.005)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


async def test_invocations_over_http_are_counted(seen: Captured) -> None:
    before = invocations("weather")
    app = wk.instrument(weather_server().streamable_http_app(json_response=True))
    with serving(app) as url:
        async with Client(f"{url}/mcp") as client:
            assert not (await client.call_tool("weather", {"city": "Ulm"})).is_error
    assert invocations("weather") == before + 1
    assert seen.span("tools/call weather").trace_id in {span.trace_id for span in seen.spans if span.http is not None}


async def test_invocations_over_stdio_are_counted(tmp_path: Path) -> None:
    program = tmp_path / "server.py"
    program.write_text(
        textwrap.dedent(
            """
            from mcp.server.mcpserver import MCPServer
            import watchkeeper as wk
            from watchkeeper.testing import Captured

            server = MCPServer("weather")  # before the SDK is configured

            @server.tool()
            def weather(city: str) -> str:
                return "Sunny"

            @server.tool()
            def counted() -> str:
                return str(Captured.metric("mcp_tool_invocations_total", tool="weather", status="ok"))

            wk.configure(wk.Options(export={}, logs=wk.LogOptions(stream="stderr")))
            server.run()
            """
        )
    )
    async with Client(stdio_client(StdioServerParameters(command=sys.executable, args=[str(program)]))) as client:
        await client.call_tool("weather", {"city": "Ulm"})
        await client.call_tool("weather", {"city": "Ulm"})
        result = await client.call_tool("counted", {})
    assert result.content == [TextContent(type="text", text="2.0")]


async def test_a_runner_that_is_called_in_another_way_still_gets_its_request(seen: Captured, production: None) -> None:
    async def answer(*args: Any, **kwargs: Any) -> Any:
        return args, kwargs

    for args in ((), ("context", "tools/call"), ("context", "tools/list")):
        assert await mcp_integration._on_request(answer, None, args, {"extra": 1}) == (args, {"extra": 1})
