import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkeeper_server.model.filters import MAX_TERMS, Words, parse_words


@pytest.mark.parametrize(
    ("text", "words", "phrases"),
    [
        ("", (), ()),
        ("  Timeout  RETRY timeout ", ("timeout", "retry"), ()),
        ("order_id=77", ("order", "id", "77"), ("order_id=77",)),
        ('"Card declined"', ("card", "declined"), ("card declined",)),
        ('"timeout"', ("timeout",), ()),
        ('refused "a b" c', ("refused", "a", "b", "c"), ("a b",)),
        ("/api/v1", ("api", "v1"), ("/api/v1",)),
        ("Größe", (), ("größe",)),
        ("a:größe", ("a",), ("a:größe",)),
        ("->", (), ("->",)),
        ('say "hi', ("say", "hi"), ('"hi',)),
        ('"" " "', (), ()),
    ],
)
def test_terms_are_words_for_the_index_and_phrases_as_written(
    text: str, words: tuple[str, ...], phrases: tuple[str, ...]
) -> None:
    assert parse_words(text) == Words(words, phrases)


def test_more_terms_than_allowed_are_refused() -> None:
    parse_words(" ".join(map(str, range(MAX_TERMS))))
    with pytest.raises(ValueError, match="at most"):
        parse_words(" ".join(map(str, range(MAX_TERMS + 1))))


@given(st.text(max_size=40))
def test_words_are_ascii_and_everything_is_in_lower_case(text: str) -> None:
    found = parse_words(text)
    assert all(word.isascii() and word.isalnum() for word in found.words)
    assert all(term == term.lower() or not term.isascii() for term in (*found.words, *found.phrases))
