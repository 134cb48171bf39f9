from __future__ import annotations

import json

import pytest

import watchkeeper as wk
from watchkeeper import LogOptions, Options, RedactionOptions
from watchkeeper.export.otlp.logs import LogEncoder
from watchkeeper.logging.line import JsonLines
from watchkeeper.logging.record import Failure
from watchkeeper.logging.redaction import _MOST_REMEMBERED, REDACTED, Redaction, is_card_number
from watchkeeper.options import ServiceOptions
from watchkeeper.testing import Captured, capture

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N"


@pytest.fixture
def redaction() -> Redaction:
    return Redaction(RedactionOptions())


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("login with password=hunter2 failed", "login with password=[redacted] failed"),
        ("Password: hunter2, user: ada", "Password: [redacted], user: ada"),
        ('{"passwd": "hunter 2", "a": 1}', '{"passwd": [redacted], "a": 1}'),
        ("db_password='hunter2'", "db_password=[redacted]"),
        ("GET /x?access_token=abc123&page=2", "GET /x?access_token=[redacted]&page=2"),
        ("api-key: 8f7a", "api-key: [redacted]"),
        ("API_KEY=8f7a", "API_KEY=[redacted]"),
        ("client_secret=8f7a", "client_secret=[redacted]"),
        ("Authorization: Bearer abc.def", "Authorization: [redacted]"),
        ("authorization: Basic dXNlcjpwYXNz", "authorization: [redacted]"),
        ("{'Authorization': 'Bearer abc def'}", "{'Authorization': [redacted]}"),
        ("sent Bearer mF_9.B5f-4.1JqM to it", "sent Bearer [redacted] to it"),
        ("Cookie: session=1; a=2", "Cookie: [redacted]; a=2"),
        (f"got {JWT}.", "got [redacted]."),
        ("postgresql://ada:pa55@db:5432/shop", "postgresql://ada:[redacted]@db:5432/shop"),
        ("redis://:pa55@cache/0", "redis://:[redacted]@cache/0"),
        ("postgresql://ada:p@ss/word@db/x", "postgresql://ada:[redacted]@db/x"),
        ("postgresql+psycopg://ada:p@ss@[::1]/x?y=a@b", "postgresql+psycopg://ada:[redacted]@[::1]/x?y=a@b"),
        ("redis://:pa/ss@cache/0", "redis://:[redacted]@cache/0"),
        ("amqp://guest:a/b@@c@rabbit/shop is away", "amqp://guest:[redacted]@rabbit/shop is away"),
        ("https://ada:p@ss@example.com/", "https://ada:[redacted]@example.com/"),
        ("https://ada:pa/ss@example.com/@ada", "https://ada:[redacted]@example.com/@ada"),
        ("https://ada:pw@example.com/@ada?to=a@b.c", "https://ada:[redacted]@example.com/@ada?to=a@b.c"),
        ("https://ada:pw@example.com?to=a@b.c", "https://ada:[redacted]@example.com?to=a@b.c"),
        ("git+https://u:pw@github.com/x/y@v1#egg=y", "git+https://u:[redacted]@github.com/x/y@v1#egg=y"),
        ('["redis://:pw@cache/0","ada@b.c"]', '["redis://:[redacted]@cache/0","ada@b.c"]'),
        ("redis://:pw@cache/0,ada@b.c", "redis://:[redacted]@cache/0,ada@b.c"),
        ("redis://:a/b@cache/0 for ada@b.c", "redis://:[redacted]@cache/0 for ada@b.c"),
        (f"postgresql://ada:{'x/' * 300}@db/x", "postgresql://ada:[redacted]@db/x"),
        ("key AKIAIOSFODNN7EXAMPLE used", "key [redacted] used"),
        ("ghp_0123456789abcdefghijklmnop", "[redacted]"),
        ("xoxb-123456789012-abcdef", "[redacted]"),
        ("sk-proj-0123456789abcdef0123", "[redacted]"),
        ("sk_live_0123456789abcdef", "[redacted]"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nend", "[redacted]\nend"),
        ("-----BEGIN PRIVATE KEY-----\nMIIE, cut off", "[redacted]"),
        ("paid with 4111 1111 1111 1111 today", "paid with [redacted] today"),
        ("paid with 4111-1111-1111-1111", "paid with [redacted]"),
        ("card 378282246310005, 5555555555554444", "card [redacted], [redacted]"),
    ],
)
def test_secrets_in_a_text_are_replaced(redaction: Redaction, text: str, clean: str) -> None:
    assert redaction.text(text) == clean
    assert redaction.text(text) == clean


@pytest.mark.parametrize(
    "text",
    [
        "order 7 placed",
        "input_tokens=512 output_tokens=30",
        "max_tokens: 4096",
        "Basic authentication failed",
        "the password was changed",
        "https://shop.example:8443/orders/7?page=2@3",
        "https://example.com/@ada",
        "https://example.com:8443/@ada",
        "https://example.com/?to=a@b.c",
        "http://[::1]:8080/@ada",
        "git@github.com:x/y",
        "ssh://git@github.com/x/y@v1",
        "postgresql://db:5432/x?user=a@b",
        "docker://localhost:5000/x@sha256:abc",
        "http://shop.example:8443 told ada@example.com",
        "mail ada@example.com",
        "trace 0af7651916cd43dd8448eb211c80319c",
        "id 4111111111111112",  # fails Luhn's check
        "took 1700000000123456789 ns",
        "550e8400-e29b-41d4-a716-446655440000",
        "key: value",
        "keyboard: qwerty",
        "",
        "ask-a-question-about-something",
    ],
)
def test_an_ordinary_text_stays_and_is_remembered(redaction: Redaction, text: str) -> None:
    assert redaction.text(text) is text
    assert text in redaction.plain_texts


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "Password",
        "user_password",
        "dbPassword",
        "passwd",
        "pwd",
        "secret",
        "clientSecret",
        "client_secret",
        "token",
        "accessToken",
        "access_token",
        "refresh-token",
        "X-Auth-Token",
        "authorization",
        "Authorization",
        "proxy-authorization",
        "api_key",
        "apiKey",
        "APIKEY",
        "x-api-key",
        "private_key",
        "cookie",
        "Set-Cookie",
        "credentials",
        "csrf_token",
        "card_number",
        "creditCard",
        "cardNumber",
        "cvv",
        "pin",
        "ssn",
    ],
)
def test_fields_named_like_secrets_lose_their_values(redaction: Redaction, name: str) -> None:
    assert redaction.fields({name: "x", "a": 1}) == {name: REDACTED, "a": 1}
    assert redaction.fields({name: 123}) == {name: REDACTED}
    assert redaction.fields({name: None}) == {name: None}
    assert redaction.fields({name: True}) == {name: True}


@pytest.mark.parametrize(
    "name",
    [
        "tokens",
        "input_tokens",
        "token_count",
        "tokenizer",
        "author",
        "pinned",
        "spinner",
        "passenger",
        "compass",
        "secretary",
        "keyboard",
        "key",
    ],
)
def test_fields_that_only_sound_like_secrets_stay(redaction: Redaction, name: str) -> None:
    assert redaction.fields({name: "x"}) == {name: "x"}


def test_nested_fields_are_redacted_by_key_and_by_pattern(seen: Captured) -> None:
    wk.get_logger("x").info(
        "paid",
        request={
            "headers": {"Authorization": "Basic x", "Accept": "json"},
            "cards": ["4111111111111111", 4111111111111111],
        },
        raw=b"password=hunter2",
        plain=b"\xff\x00",
    )
    assert seen.records[0].fields == {
        "request": {"headers": {"Authorization": REDACTED, "Accept": "json"}, "cards": (REDACTED, REDACTED)},
        "raw": "password=[redacted]",
        "plain": b"\xff\x00",
    }


def test_no_sink_sees_a_secret(seen: Captured) -> None:
    with wk.bound_context(api_key="hunter2"):
        try:
            raise ValueError("password=hunter2")
        except ValueError:
            wk.get_logger("x", token="hunter2").exception(
                "secret=hunter2 %s", "pwd: hunter2", note="token=hunter2", pin=b"hunter2"
            )
    (record,) = seen.records
    line = JsonLines(ServiceOptions(name="shop"))(record)
    assert b"hunter2" not in line.replace(b'ValueError(\\"password=hunter2\\")', b"")  # the program's own text
    assert json.loads(line)["error"]["message"] == "password=[redacted]"
    assert LogEncoder(b"").encode([record]).count(b"hunter2") == 1


def test_source_lines_of_a_stack_stay_readable_and_its_message_is_redacted(redaction: Redaction) -> None:
    stack = (
        "Traceback (most recent call last):\n"
        '  File "a.py", line 1, in f\n'
        "    token = get_token(request)\n"
        "            ^^^^^^^^^\n"
        "ValueError: token=abc\n"
        "    password=abc\n"
    )
    told = redaction.failure(Failure("ValueError", "token=abc", stack))
    assert "    token = get_token(request)\n" in told.stack
    assert "ValueError: token=[redacted]\n" in told.stack
    assert "    password=[redacted]\n" in told.stack


def test_keys_and_patterns_can_be_added() -> None:
    redaction = Redaction(RedactionOptions(keys=("iban", "dateOfBirth"), patterns=(r"CUST-\d+",)))
    assert redaction.fields({"customer_iban": "DE", "date_of_birth": "2000", "note": "CUST-77 came"}) == {
        "customer_iban": REDACTED,
        "date_of_birth": REDACTED,
        "note": "[redacted] came",
    }
    assert redaction.text("password=x") == "password=[redacted]"


def test_redaction_can_be_switched_off() -> None:
    options = Options(logs=LogOptions(stream="off", redaction=RedactionOptions(enabled=False)))
    with capture(options) as seen:
        wk.get_logger("x").info("password=x", password="y", card=4111111111111111, nested={"token": "z"})
    (record,) = seen.records
    assert record.message == "password=x"
    assert record.fields == {"password": "y", "card": 4111111111111111, "nested": {"token": "z"}}


def test_options_of_redaction_are_read_from_the_environment() -> None:
    options = Options.from_environment(
        {
            "WATCHKEEPER_LOG_REDACT": "true",
            "WATCHKEEPER_LOG_REDACT_KEYS": "iban, dob",
            "WATCHKEEPER_LOG_REDACT_PATTERN": "C{2,3}",
        }
    )
    assert options.logs.redaction == RedactionOptions(keys=("iban", "dob"), patterns=("C{2,3}",))
    assert not Options.from_environment({"WATCHKEEPER_LOG_REDACT": "false"}).logs.redaction.enabled


@pytest.mark.parametrize("pattern", ["(", "a*"])
def test_a_pattern_that_cannot_be_used_is_named(pattern: str) -> None:
    with pytest.raises(wk.ConfigurationError, match=r"logs\.redaction\.patterns"):
        wk.configure(Options(logs=LogOptions(redaction=RedactionOptions(patterns=(pattern,)))))


@pytest.mark.parametrize(
    ("digits", "card"),
    [
        ("4111111111111111", True),
        ("4222222222222", True),
        ("30569309025904", True),
        ("6011111111111117", True),
        ("3530111333300000", True),
        ("2223003122003222", True),
        ("4111111111111112", False),
        ("1111111111111117", False),
        ("0000000000000000", False),
        ("41", False),
    ],
)
def test_card_numbers_are_known_by_prefix_length_and_luhn(digits: str, card: bool) -> None:
    assert is_card_number(digits) is card


def test_what_is_remembered_is_bounded(redaction: Redaction) -> None:
    for number in range(_MOST_REMEMBERED + 10):
        redaction.text(f"message {number}")
        redaction.is_secret(f"field {number}")
    redaction.text("x" * 1_000)
    assert len(redaction.plain_texts) <= _MOST_REMEMBERED
    assert len(redaction.plain_names) <= _MOST_REMEMBERED
    assert "x" * 1_000 not in redaction.plain_texts


@pytest.mark.parametrize(
    "piece",
    [
        "a",
        "token",
        "eyJ-",
        "://",
        "4",
        "4 ",
        "Bearer ",
        "-----BEGIN PRIVATE KEY-----",
        "password=",
        "sk-",
        "x:",
        "://a",
        "://a:",
        "://a:b@",
        "://a:b/",
        "://a:b@c/",
        "://:@",
        "@",
        "x@/",
        '"',
    ],
)
@pytest.mark.parametrize("before", ["= : ", "://a:", "redis://a:b@", "http://a:b/"])
def test_no_text_takes_more_than_linear_time(redaction: Redaction, before: str, piece: str) -> None:
    text = "= : " + before + piece * (1_000_000 // len(piece))
    assert redaction.text(text)  # in minutes, if a pattern were quadratic


def test_a_redacted_field_leaves_the_callers_own_data_alone(seen: Captured) -> None:
    mine = {"password": "x", "inner": {"token": "y"}}
    wk.get_logger("x").info("m", mine=mine)
    assert mine == {"password": "x", "inner": {"token": "y"}}
    assert seen.records[0].fields["mine"] == {"password": REDACTED, "inner": {"token": REDACTED}}


@pytest.mark.parametrize(
    "text",
    ["password=hunter2", "Authorization: Bearer abcdefgh1234", '{"password": "x"}', "https://u:pw@h/", "pwd='a b'"],
)
def test_redacting_again_changes_nothing(text: str) -> None:
    redaction = Redaction(RedactionOptions())
    once = redaction.text(text)
    assert once != text
    assert redaction.text(once) == once
