"""Trace headers and baggage: W3C's by the letter of the recommendations, B3 and Jaeger, read and written."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi import FastAPI
from opentelemetry import baggage, propagate, trace

import watchkeeper as wk
from support.sdk import request
from support.wsgi import call as call_wsgi
from watchkeeper import ConfigurationError, LogOptions, Options
from watchkeeper.testing import Captured, capture
from watchkeeper.tracing.propagation import LONGEST_TRACESTATE, GlobalPropagator, read_traceparent
from watchkeeper.tracing.span import Span

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACE_ID, PARENT_ID = int(TRACE, 16), int(PARENT, 16)
QUIET = LogOptions(stream="off")


# https://www.w3.org/TR/trace-context-2/#traceparent-header


@pytest.mark.parametrize(
    ("header", "flags"),
    [
        (f"00-{TRACE}-{PARENT}-01", 1),
        (f"00-{TRACE}-{PARENT}-00", 0),
        (f"00-{TRACE}-{PARENT}-03", 3),  # random-trace-id is a flag since level 2
        (f"00-{TRACE}-{PARENT}-ff", 3),  # "MUST ignore" flags that are not known
        (f" 00-{TRACE}-{PARENT}-01\t", 1),  # optional whitespace around a value is HTTP's
        (f"cc-{TRACE}-{PARENT}-01", 1),  # a later version is read as far as it is known
        (f"cc-{TRACE}-{PARENT}-01-what-the-future-will-be-like", 1),
        (f"cc-{TRACE}-{PARENT}-01-", 1),
    ],
)
def test_a_traceparent_is_joined(header: str, flags: int) -> None:
    assert read_traceparent(header.encode()) == (TRACE_ID, PARENT_ID, flags, "")


@pytest.mark.parametrize(
    "header",
    [
        "",
        f"{TRACE}-{PARENT}-01",
        f"0-{TRACE}-{PARENT}-01",
        f"000-{TRACE}-{PARENT}-01",
        f"0x-{TRACE}-{PARENT}-01",
        f"0X-{TRACE}-{PARENT}-01",
        f"ff-{TRACE}-{PARENT}-01",  # "Version ff is invalid"
        f"00-{TRACE}-{PARENT}-01-more",  # version 00 has four fields
        f"00-{TRACE}-{PARENT}-01.",
        f"cc-{TRACE}-{PARENT}-01.what-the-future-will-not-be-like",
        f"cc-{TRACE}-{PARENT}-012",
        f"00-{'0' * 32}-{PARENT}-01",  # "All bytes as zero … is considered an invalid value"
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",  # HEXDIGLC
        f"00-{TRACE}-{PARENT.upper()}-01",
        f"00-{TRACE[:-1]}.-{PARENT}-01",
        f"00-{TRACE[1:]}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}0-01",
        f"00-{TRACE}-{PARENT}-1",
        f"00-{TRACE}-{PARENT}-.0",
        f"00_{TRACE}_{PARENT}_01",
        f"00-{TRACE}-{PARENT}-01\n",
        f"00-{TRACE}-{PARENT}-01, 00-{TRACE}-{PARENT}-01",
    ],
)
def test_a_malformed_traceparent_is_ignored_with_its_tracestate(header: str) -> None:
    assert read_traceparent(header.encode(), b"a=1") is None


# https://www.w3.org/TR/trace-context-2/#tracestate-header


@pytest.mark.parametrize(
    ("state", "kept"),
    [
        ("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"),
        ("a=1 ,\tb=2", "a=1,b=2"),  # optional whitespace around list members
        ("a=1,,b=2,", "a=1,b=2"),  # "Empty list members are allowed"
        ("0tenant@system=1", "0tenant@system=1"),
        ("a/_-*=1", "a/_-*=1"),
        (f"{'k' * 256}={'v' * 256}", f"{'k' * 256}={'v' * 256}"),  # the longest key and value there may be
        (f"{'k' * 257}=1", ""),
        (f"k={'v' * 257}", ""),
        ("A=1", ""),
        ("a b=1", ""),
        ("a=1=2", ""),
        ("a", ""),
        ("a=1,a=2", ""),  # "Only one entry per key is allowed"
        (",".join(f"k{n}=1" for n in range(32)), ",".join(f"k{n}=1" for n in range(32))),
        (",".join(f"k{n}=1" for n in range(33)), ""),  # "a maximum of 32 list-members"
        (",".join(f"k{n}={'v' * 256}" for n in range(32)), ""),
        ("ü=1", ""),
    ],
)
def test_a_tracestate_is_carried_or_dropped_whole_and_alone(state: str, kept: str) -> None:
    header = state.encode()
    assert read_traceparent(f"00-{TRACE}-{PARENT}-01".encode(), header) == (TRACE_ID, PARENT_ID, 1, kept)


def test_the_bound_of_a_tracestate_is_above_what_the_recommendation_wants_carried() -> None:
    state = f"a={'v' * 250},b={'v' * 250}"
    assert len(state) > 500 < LONGEST_TRACESTATE
    parent = read_traceparent(f"00-{TRACE}-{PARENT}-01".encode(), state.encode())
    assert parent == (TRACE_ID, PARENT_ID, 1, state)


# https://www.w3.org/TR/baggage/


async def baggage_of(*headers: str) -> Any:
    app = FastAPI()

    @app.get("/")
    async def read() -> Any:
        return dict(baggage.get_all())

    wk.instrument(app)
    return json.loads((await request(app, "/", headers=[("baggage", header) for header in headers])).body)


async def test_baggage_is_read_with_whitespace_and_percent_encoding(seen: Captured) -> None:
    assert await baggage_of("user = ada , note=a%20b%2Cc%C3%BC") == {"user": "ada", "note": "a b,cü"}


async def test_long_gaps_in_baggage_are_no_part_of_it(seen: Captured) -> None:
    assert await baggage_of("a" + " " * 5_000 + "= 1" + "\t" * 3_000 + ",b=2") == {"a": "1", "b": "2"}


async def test_several_baggage_headers_are_one_list(seen: Captured) -> None:
    assert await baggage_of("a=1,b=2", "c=3") == {"a": "1", "b": "2", "c": "3"}


async def test_malformed_list_members_are_left_out_alone(seen: Captured) -> None:
    assert await baggage_of("a=1,no-equals,=x,b c=3,,d=4") == {"a": "1", "d": "4"}


async def test_of_too_many_list_members_the_first_180_are_read(seen: Captured) -> None:
    found = await baggage_of(",".join(f"k{number}=1" for number in range(200)))
    assert list(found) == [f"k{number}" for number in range(180)]


async def test_8192_bytes_of_baggage_are_read_and_more_are_not(seen: Captured) -> None:
    whole = f"a={'x' * 4_000},b={'y' * 4_000},c={'z' * 184}"
    assert len(whole) == 8_192
    assert set(await baggage_of(whole)) == {"a", "b", "c"}
    assert await baggage_of(f"{whole}z") == {}


# B3 and Jaeger: https://github.com/openzipkin/b3-propagation, https://www.jaegertracing.io/docs/1.19/client-libraries/

HEADERS = {
    "b3": {"b3": f"{TRACE}-{PARENT}-1"},
    "b3multi": {"x-b3-traceid": TRACE, "x-b3-spanid": PARENT, "x-b3-sampled": "1"},
    "jaeger": {"uber-trace-id": f"{TRACE}:{PARENT}:0:1"},
}


async def call(names: tuple[str, ...], headers: dict[str, str]) -> tuple[list[Span], dict[str, str]]:
    """The spans of a request with these headers, and the headers that a call from within it would carry."""
    sent: dict[str, str] = {}
    app = FastAPI()

    @app.get("/")
    async def outgoing() -> None:
        propagate.inject(sent)

    with capture(Options(logs=QUIET, propagators=names)) as seen:
        wk.instrument(app)
        await request(app, "/", headers=list(headers.items()))
    return seen.spans, sent


@pytest.mark.parametrize("name", HEADERS)
async def test_a_propagator_that_options_name_is_read_and_written(name: str) -> None:
    (span,), sent = await call((name,), HEADERS[name])
    assert (span.trace_id, span.parent_id, span.parent_is_remote) == (TRACE_ID, PARENT_ID, True)
    assert set(sent) == set(HEADERS[name])
    assert f"{span.span_id:016x}" in "".join(sent.values())


@pytest.mark.parametrize(
    ("name", "headers"),
    [
        ("b3", {"b3": f"{TRACE}-{PARENT}-0"}),
        ("b3multi", {"x-b3-traceid": TRACE, "x-b3-spanid": PARENT, "x-b3-sampled": "0"}),
        ("jaeger", {"uber-trace-id": f"{TRACE}:{PARENT}:0:0"}),
    ],
)
async def test_a_caller_that_did_not_sample_is_followed(name: str, headers: dict[str, str]) -> None:
    spans, sent = await call((name,), headers)
    assert spans == []
    assert TRACE in "".join(sent.values())


@pytest.mark.parametrize(
    ("name", "headers"),
    [
        ("b3", {"b3": "not-b3"}),
        ("b3", {"b3": f"{'0' * 32}-{PARENT}-1"}),
        ("b3multi", {"x-b3-traceid": TRACE}),
        ("b3multi", {"x-b3-traceid": "xyz", "x-b3-spanid": PARENT}),
        ("jaeger", {"uber-trace-id": f"{TRACE}:{PARENT}"}),
        ("jaeger", {"uber-trace-id": f"{'0' * 32}:{PARENT}:0:1"}),
        ("b3", {"traceparent": f"00-{TRACE}-{PARENT}-01"}),  # not asked for
    ],
)
async def test_malformed_headers_start_a_new_trace(name: str, headers: dict[str, str]) -> None:
    (span,), _ = await call((name,), headers)
    assert (span.trace_id != TRACE_ID, span.parent_id) == (True, 0)


async def test_a_trace_id_of_64_bits_is_joined() -> None:
    (span,), _ = await call(("b3",), {"b3": f"{TRACE[16:]}-{PARENT}-1"})
    assert span.trace_id == int(TRACE[16:], 16)


async def test_several_propagators_are_read_in_their_order_and_all_written() -> None:
    (span,), sent = await call(("tracecontext", "b3"), {"traceparent": f"00-{TRACE}-{PARENT}-01"})
    assert span.trace_id == TRACE_ID
    assert set(sent) == {"traceparent", "b3"}


async def test_jaegers_parent_is_the_spans_own() -> None:
    sent: dict[str, str] = {}
    with capture(Options(logs=QUIET, propagators=("jaeger",))), wk.span("outer") as outer, wk.span("inner"):
        propagate.inject(sent)
    assert sent["uber-trace-id"].split(":")[2] == f"{outer.get_span_context().span_id:016x}"


async def test_two_traceparents_start_a_new_trace_with_other_propagators_too() -> None:
    app = FastAPI()
    with capture(Options(logs=QUIET, propagators=("tracecontext", "b3"))) as seen:
        wk.instrument(app)
        await request(app, "/", headers=[("traceparent", f"00-{TRACE}-{PARENT}-01")] * 2)
    assert seen.spans[0].parent_id == 0


def test_none_reads_and_writes_nothing() -> None:
    sent: dict[str, str] = {}
    with capture(Options(logs=QUIET, propagators=("none",))), wk.span("here"):
        propagate.inject(sent)
    assert sent == {}


def test_the_former_propagator_is_given_back() -> None:
    before = propagate.get_global_textmap()
    with capture(Options(logs=QUIET, propagators=("b3",))):
        assert propagate.get_global_textmap() is not before
    assert propagate.get_global_textmap() is before


def test_a_propagator_of_the_applications_own_stays() -> None:
    before = propagate.get_global_textmap()
    theirs = trace.propagation.tracecontext.TraceContextTextMapPropagator()
    propagate.set_global_textmap(theirs)
    try:
        with capture(Options(logs=QUIET)):
            assert propagate.get_global_textmap() is theirs
    finally:
        propagate.set_global_textmap(before)


def test_what_the_environment_named_is_left_as_opentelemetry_made_it() -> None:
    before = propagate.get_global_textmap()
    GlobalPropagator({"OTEL_PROPAGATORS": "b3, baggage"}).install(("b3", "baggage"))
    assert propagate.get_global_textmap() is before


def test_an_unknown_propagator_is_named_with_those_there_are() -> None:
    with pytest.raises(ConfigurationError, match=r"'zipkin'.*b3, b3multi, baggage, jaeger"):
        wk.configure(Options(logs=QUIET, export={}, propagators=("zipkin",)))
    wk.shutdown()


# The cases of the W3C's own test suite (https://github.com/w3c/trace-context/tree/main/test), through both protocols

STATE = "foo=1,bar=2"
JOINED = [("traceparent", f"00-{TRACE}-{PARENT}-01")]
CASES: dict[str, tuple[list[tuple[str, str]], bool, str | None]] = {
    "neither header": ([], False, None),
    "no tracestate": (JOINED, True, None),
    "both": ([*JOINED, ("tracestate", STATE)], True, STATE),
    "a tracestate alone": ([("tracestate", STATE)], False, None),
    "two traceparents": ([*JOINED, *JOINED], False, None),
    "two traceparents that differ": ([("traceparent", f"00-{TRACE[::-1]}-{PARENT}-01"), *JOINED], False, None),
    "a bad traceparent with a tracestate": ([("traceparent", "xx"), ("tracestate", STATE)], False, None),
    "another header's name": ([("trace-parent", f"00-{TRACE}-{PARENT}-01")], False, None),
    "a name in other case": ([("TraceParent", f"00-{TRACE}-{PARENT}-01"), ("TraceState", STATE)], True, STATE),
    "whitespace around": ([("traceparent", f" \t00-{TRACE}-{PARENT}-01 \t")], True, None),
    "not sampled": ([("traceparent", f"00-{TRACE}-{PARENT}-00"), ("tracestate", STATE)], True, STATE),
    "a version to come": (
        [("traceparent", f"cc-{TRACE}-{PARENT}-01-what-will-be"), ("tracestate", STATE)],
        True,
        STATE,
    ),
    "a megabyte": ([("traceparent", "0" * 1_000_000)], False, None),
    "a tracestate in two headers": ([*JOINED, ("tracestate", "foo=1"), ("tracestate", "bar=2")], True, STATE),
    "an empty tracestate": ([*JOINED, ("tracestate", "")], True, None),
    "an empty tracestate before another": ([*JOINED, ("tracestate", ""), ("tracestate", STATE)], True, STATE),
    "whitespace in a tracestate": ([*JOINED, ("tracestate", "foo=1 \t , \t bar=2")], True, STATE),
    "a key twice": ([*JOINED, ("tracestate", "foo=1,foo=1")], True, None),
    "a key twice, in two headers": ([*JOINED, ("tracestate", "foo=1"), ("tracestate", "foo=2")], True, None),
    "a bad key": ([*JOINED, ("tracestate", "foo =1")], True, None),
    "33 members": ([*JOINED, ("tracestate", ",".join(f"k{number}=1" for number in range(33)))], True, None),
    "a megabyte of tracestate": ([*JOINED, ("tracestate", f"k={'v' * 1_000_000}")], True, None),
    "no ASCII": ([*JOINED, ("tracestate", "k=ü")], True, None),
}


async def by_asgi(headers: list[tuple[str, str]], sent: dict[str, str]) -> None:
    app = FastAPI()

    @app.get("/")
    async def outgoing() -> None:
        propagate.inject(sent)

    wk.instrument(app)
    assert (await request(app, "/", headers=headers)).status == 200


async def by_wsgi(headers: list[tuple[str, str]], sent: dict[str, str]) -> None:
    def app(_environ: Any, start_response: Any) -> list[bytes]:
        propagate.inject(sent)
        start_response("200 OK", [("content-type", "text/plain")])
        return [b""]

    joined: dict[str, str] = {}
    for name, value in headers:  # as every server joins them, by RFC 3875
        joined[name.lower()] = f"{joined[name.lower()]},{value}" if name.lower() in joined else value
    assert call_wsgi(wk.instrument(app), headers=list(joined.items())).status == 200


@pytest.mark.parametrize("protocol", [by_asgi, by_wsgi])
@pytest.mark.parametrize("case", CASES)
async def test_what_goes_on_to_others_is_what_w3cs_test_suite_wants(seen: Captured, case: str, protocol: Any) -> None:
    headers, joined, state = CASES[case]
    sent: dict[str, str] = {}
    await protocol(headers, sent)
    version, trace_id, span_id, flags = sent["traceparent"].split("-")
    assert version == "00"
    assert (trace_id == TRACE) is joined
    assert span_id != PARENT
    assert int(span_id, 16)
    assert flags == ("00" if case == "not sampled" else "01")
    assert sent.get("tracestate") == state
