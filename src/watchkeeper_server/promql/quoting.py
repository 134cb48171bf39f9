"""Strings as Go writes them: between quotes, with escapes; for literals of queries and for messages.

`unquote(quote(text)) == text` for every text that can be encoded as UTF-8.

Source: https://go.dev/ref/spec#String_literals and https://pkg.go.dev/strconv#Quote.
"""

from __future__ import annotations

import re

_ESCAPES = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    "\\": "\\\\",
}
_UNESCAPES = {escape[1]: char for char, escape in _ESCAPES.items()} | {'"': '"', "'": "'"}
_NOT_PLAIN = re.compile(r"[^ !#-\[\]-~]")
_ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|([0-7]{3})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL)
_ASCII, _TWO_BYTES = 0x80, 0x10000


def quote(text: str) -> str:
    """The text between double quotes; what cannot be printed, and U+FFFD, is escaped."""
    return '"' + _NOT_PLAIN.sub(lambda found: _escaped(found[0], '"'), text) + '"'


def quote_char(char: str) -> str:
    """One character between single quotes."""
    return "'" + _escaped(char, "'") + "'"


def unquote(literal: str) -> str:
    """What a well-formed literal stands for; bytes that are not UTF-8 become U+FFFD."""
    body = literal[1:-1]
    if literal[0] == "`" or "\\" not in body:
        return body
    return _ESCAPE.sub(_unescaped, body.encode()).decode(errors="replace")


def _escaped(char: str, mark: str) -> str:
    if char == mark:
        return "\\" + char
    if char in _ESCAPES:
        return _ESCAPES[char]
    # U+FFFD is what a parser makes of broken input, so it is refused in literals
    if char.isprintable() and char != "\ufffd":
        return char
    code = ord(char)
    if code < _ASCII:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < _TWO_BYTES else f"\\U{code:08x}"


def _unescaped(found: re.Match[bytes]) -> bytes:
    byte, octal, short, long, plain = found.groups()
    if byte:
        return bytes([int(byte, 16)])
    if octal:
        return bytes([int(octal, 8)])
    if plain:
        return _UNESCAPES[plain.decode()].encode()
    return chr(int(short or long, 16)).encode()
