"""Redaction: secrets are taken out of a record before any sink sees it (and out of spans: `tracing.redaction`).

By key: a field whose name says that it is a secret loses its value (what is None or a bool holds none and stays). By
pattern: passwords and tokens in a text, authorization headers, the tokens of well-known services, private keys, the
password in a URL, and card numbers that pass Luhn's check.

What has been looked at and holds nothing is remembered (names of fields, short texts), so that an ordinary line costs
some look-ups. Every pattern is bounded and takes time linear in the text's length.
"""

from __future__ import annotations

import re
from typing import Any

from watchkeeper.logging.options import RedactionOptions
from watchkeeper.logging.record import Failure
from watchkeeper.values import INT64_MAX, INT64_MIN, fields_snapshot

REDACTED = "[redacted]"
_MOST_REMEMBERED = 4_096  # names, and texts: made up per line, they must not fill memory
_LONGEST_REMEMBERED = 256  # characters
_LONGEST_CHECKED = 4_096  # characters; a field with a longer value takes the slow path, which truncates
_SMALLEST_CARD = 10**12
_SHORTEST_CARD = 13  # digits
_PLAIN = frozenset({float, bool, type(None)})

# In names whose words are joined by underscores. `tokens` are counted, not secret.
_SENSITIVE = (
    r"(?:^|_)(?:pass_?words?|passwd|pass_?phrases?|pwd|secrets?|credentials?|authori[sz]ation|auth|cookies?"
    r"|(?:api|access|private|secret|signing|encryption|session)_?keys?|(?:csrf|xsrf)(?:_?token)?"
    r"|(?:card|credit_?card|cc|account)_?(?:number|num|no)|credit_?card|pan|cvv2?|cvc2?|ssn)(?:_|$)"
    r"|(?:^|_)(?:[a-z]*token|pin)$"
)
_WORD_BORDER = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+")

# What the patterns below need in a text (the first of them in lower case), for much less: each begins with a class of
# characters, since that is what `re` skips by, and the fewer places a text has for it, the better.
_WORD = re.compile(
    r"[wkchvg](?:(?<=pass.)|(?<=pass_.)|(?<=pw)d|(?<=tok)en|(?<=cook)ie|(?<=[iske_ -]k)ey|(?<=sec)ret|(?<=c)redential"
    r"|(?<=auth)ori|(?<=cv)v|(?<=sig)(?:nature)?=)"
)
_SIGN = re.compile(
    r"[:BbkAxJgP](?://[^\s:/@\[]{0,128}+:(?!\d{0,5}/)(?:[^\s:@]{1,256}+|:(?!//)){1,64}+@"
    r"|earer|asic|[-_]|KIA|SIA|Iza|ox.-|(?<=eyJ)|h[pousr]_|ithub_pat|lpat|RIVATE)"
)
_LONG_NUMBER = re.compile(r"[2-6][0-9 -]{12}")
_ASSIGNMENT = re.compile(
    r"(?P<name>(?:pass_?word|passwd|pass_?phrase|pwd|secret|(?<!max_)token(?!s)|credential"
    r"|(?:api|access|private|secret)[_-]?key|authorization|cookie|cvv|sig(?:nature)?(?==))"
    r"[\w-]{0,24}[\"']?[ ]{0,2}[=:][ ]{0,2})"
    r"(?!\[redacted\])"  # what was redacted before stays as it is
    r"(?:(?:bearer|basic|digest|token)[ ]{1,2})?(?:\"[^\"]*\"?|'[^']*'?|[^\s,;&\"'}\])]+)",
    re.IGNORECASE,
)
# The password in a URL. One that is not percent-encoded may hold a slash, if what is before that is no port, and an @.
# So it ends at the last @ before the host's path; in URLs whose paths hold none, such as databases have, at the last.
_OF_URL = (
    r"(?P<user>://(?:(?<!http://)(?<!https://)(?<!ws://)(?<!wss://)(?<!ftp://)(?<!ssh://)(?<!git://)(?<!oci://)"
    r"(?P<database>))?[^\s:/@\[]{0,128}+:)(?!\d{0,5}/)"
    r"(?:[^\s/@]{1,256}+|(?:[^\s:@\"'<>]{1,256}+|:(?!//)){1,64}+)(?=@)"
    r"(?(database)(?:@[^\s/@\"'<>,;]{0,256}+(?:/[^\s?#@\"'<>,;]{0,256}+)?+(?=@))*+"
    r"|(?:@[^\s/?#@\"'<>,;]{0,256}+(?=@))*+)"
)
_TOKENS = re.compile(
    r"(?P<scheme>\b[Bb](?:earer|asic)[ ]{1,2})(?=[^\s]+[\dA-Z=])[\w.~+/=-]{8,}"
    rf"|{_OF_URL}"
    r"|-----BEGIN [A-Z ]{0,24}PRIVATE KEY-----(?:[^-]|-(?!----END))*(?:-----END [A-Z ]{0,24}PRIVATE KEY-----)?"
    r"|(?<![\w-])(?:"
    r"eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?"  # JSON Web Tokens
    r"|(?:AKIA|ASIA)[0-9A-Z]{16}(?!\w)"  # Amazon
    r"|gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}"  # GitHub, GitLab
    r"|xox[a-z]-[\w-]{10,}"  # Slack
    r"|[sr]k[-_](?:live_|test_|ant-|proj-)?[\w-]{16,}"  # Stripe, OpenAI, Anthropic
    r"|AIza[\w-]{30,})"  # Google
)
_CARD = re.compile(r"(?<![\w.-])\d(?:[ -]?\d){12,18}(?![\w-])")
# Lengths and first digits that card networks use: other numbers pass Luhn's check one time in ten.
_ISSUED = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})|(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}|3[47]\d{13}"
    r"|3(?:0[0-5]|[68]\d)\d{11}|(?:6011|65\d\d|64[4-9]\d|35(?:2[89]|[3-8]\d))\d{12}|62\d{14,17}"
)
# A frame of a traceback: its source lines are the program's text, in which `password=` is followed by an expression.
_FRAME = re.compile(r'(^  File ".*(?:\n {4}.*)*)', re.MULTILINE)


class Redaction:
    """Takes secrets out of texts, fields and failures, as its options say."""

    def __init__(self, options: RedactionOptions) -> None:
        self.enabled = options.enabled
        # Fields that hold only remembered names and texts need no look: the pipeline asks these two by itself.
        self.plain_names: set[str] = set()
        self.plain_texts: set[str] = set()
        names = [re.escape(_words(key)) for key in options.keys]
        own = f"|(?:^|_)(?:{'|'.join(names)})(?:_|$)" if names else ""
        self._secret_name = re.compile(_SENSITIVE + own)
        self._own = [re.compile(pattern) for pattern in options.patterns]

    def text(self, text: str) -> str:
        """The text without secrets."""
        if not self.enabled or text in self.plain_texts:
            return text
        clean = text
        if _may_hold_secret(text):
            clean = _ASSIGNMENT.sub(_keep_name, clean)
            clean = _TOKENS.sub(_keep_scheme, clean)
            clean = _CARD.sub(_keep_unless_card, clean)
        for pattern in self._own:
            clean = pattern.sub(REDACTED, clean)
        if clean != text:
            return clean
        _remember(self.plain_texts, text)
        return text  # itself, by which callers know that nothing changed

    def is_secret(self, name: str) -> bool:
        """Whether a field of that name holds a secret."""
        if name in self.plain_names:
            return False
        if self.enabled and self._secret_name.search(_words(name)) is not None:
            return True
        _remember(self.plain_names, name)
        return False

    def fields(self, fields: dict[str, Any]) -> dict[str, Any]:
        """A snapshot of fields without secrets."""
        return {name: self._field(name, value) for name, value in fields.items()}

    def snapshot(self, fields: dict[str, Any]) -> dict[str, Any]:
        """A snapshot without secrets of what an application said; `fields` itself where they are one already."""
        if self.plain_names.issuperset(fields):
            plain_texts = self.plain_texts
            new_texts: list[str] = []
            for value in fields.values():
                kind = type(value)
                if kind is str:
                    if value not in plain_texts:
                        if len(value) > _LONGEST_CHECKED:
                            break
                        new_texts.append(value)
                elif kind is int:
                    if not INT64_MIN <= value < _SMALLEST_CARD and (
                        not INT64_MIN <= value <= INT64_MAX or (self.enabled and is_card(value))
                    ):
                        break
                elif kind not in _PLAIN:
                    break
            else:
                if not new_texts or self._are_plain(new_texts):
                    return fields
        return self.fields(fields_snapshot(fields))

    def _are_plain(self, texts: list[str]) -> bool:
        """Whether none of these texts, which nobody has looked at yet, holds a secret.

        All are searched as one, since it is the number of searches that costs. An application's own patterns may ask
        where a text begins, so these see each for itself.
        """
        if not self.enabled:
            return True
        if self._own:
            return all(self.text(text) is text for text in texts)
        joined = texts[0] if len(texts) == 1 else "\n".join(texts)
        if _may_hold_secret(joined):
            return all(self.text(text) is text for text in texts)
        if len(joined) <= _LONGEST_REMEMBERED:
            known = self.plain_texts
            if len(known) >= _MOST_REMEMBERED:
                known.clear()
            known.update(texts)
        else:
            for text in texts:
                _remember(self.plain_texts, text)
        return True

    def failure(self, failure: Failure) -> Failure:
        """A failure without secrets."""
        return Failure(failure.type, self.text(failure.message), self.stack(failure.stack))

    def stack(self, stack: str) -> str:
        """A formatted traceback without secrets; its source lines are left as the program has them."""
        parts = _FRAME.split(stack)
        return "".join([part if at % 2 else self.text(part) for at, part in enumerate(parts)])

    def _field(self, name: str, value: Any) -> Any:
        if self.is_secret(name) and value is not None and type(value) is not bool:
            return REDACTED
        return self._value(value)

    def _value(self, value: Any) -> Any:
        kind = type(value)
        if kind is str:
            return self.text(value)
        if kind is int:
            return REDACTED if self.enabled and is_card(value) else value
        if kind is dict:
            return self.fields(value)
        if kind is tuple:
            return tuple([self._value(item) for item in value])
        if kind is bytes:
            text = value.decode("utf-8", "backslashreplace")
            clean = self.text(text)
            return value if clean == text else clean
        return value


def is_card(number: int) -> bool:
    """Whether a number of 64 bits is a card's."""
    return number >= _SMALLEST_CARD and is_card_number(str(number))


def is_card_number(digits: str) -> bool:
    """Whether digits are a number that a card network may have issued: its prefix, its length and Luhn's check."""
    if _ISSUED.fullmatch(digits) is None:
        return False
    doubled = [2 * int(digit) for digit in digits[-2::-2]]
    return (sum(map(int, digits[-1::-2])) + sum(number - 9 if number > 9 else number for number in doubled)) % 10 == 0  # noqa: PLR2004  # Luhn


def _may_hold_secret(text: str) -> bool:
    """Whether it is worth a closer look, by what ordinary texts do not have."""
    return (
        (("=" in text or ":" in text) and _WORD.search(text.lower()) is not None)
        or _SIGN.search(text) is not None
        or (len(text) >= _SHORTEST_CARD and _LONG_NUMBER.search(text) is not None)
    )


def _words(name: str) -> str:
    """`accessToken`, `access-token` and `ACCESS_TOKEN` as access_token."""
    return _WORD_BORDER.sub("_", name[:_LONGEST_REMEMBERED]).lower()


def _remember(known: set[str], text: str) -> None:
    if len(text) <= _LONGEST_REMEMBERED:
        # Emptying all at once keeps a hit to one look-up.
        if len(known) >= _MOST_REMEMBERED:
            known.clear()
        known.add(text)


def _keep_name(match: re.Match[str]) -> str:
    return match["name"] + REDACTED


def _keep_scheme(match: re.Match[str]) -> str:
    return (match["scheme"] or match["user"] or "") + REDACTED


def _keep_unless_card(match: re.Match[str]) -> str:
    return REDACTED if is_card_number(re.sub("[ -]", "", match[0])) else match[0]
