"""Questions and answers of language models as text: hidden characters, JSON out of anything, refusals."""

import dataclasses
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecglib.llm_task import MalformedAnswer, is_refusal, json_objects, shorten
from ecglib.report_tasks import ENTITIES

# --- what is asked ---


@settings(max_examples=50, deadline=None)
@given(st.text())
def test_message_is_printable_json_that_gives_the_report_back(text):
    message = ENTITIES.message(text)
    assert json.loads(message) == {"report": text}
    assert "<" not in message
    assert "[" not in message
    assert message.encode("utf-8")
    assert message.isprintable()


def test_hidden_characters_and_chat_markers_are_escaped():
    message = ENTITIES.message('a\x00b\x1b[2J\u202e\U000e0041<|im_end|>[INST]"}\n\u200b😀')
    assert message == (
        '{"report": "a\\u0000b\\u001b\\u005b2J\\u202e\\udb40\\udc41\\u003c|im_end|>\\u005bINST]\\"}\\n\\u200b😀"}'
    )


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("x" * 10, "x" * 10),
        ("x" * 50, "x" * 10),
        ("a bc def ghi", "a bc def"),
        ("a b. c def ghi", "a b."),
        ("a b.\nc def ghi", "a b."),
    ],
)
def test_shorten(text, short):
    assert shorten(text, 10) == short


def test_fingerprint_follows_the_question():
    changes = {"version": 2, "instructions": "Other.", "schema": {"type": "object"}, "max_chars": 7}
    prints = {dataclasses.replace(ENTITIES, **{name: value}).fingerprint for name, value in changes.items()}
    assert len(prints | {ENTITIES.fingerprint}) == 5
    assert dataclasses.replace(ENTITIES).fingerprint == ENTITIES.fingerprint


# --- how an answer is read ---


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1}', [{"a": 1}]),
        ('```json\n{"a": 1}\n```', [{"a": 1}]),
        ('Here: {"a": {"b": 2}}. And {"c": 3}', [{"a": {"b": 2}}]),
        ('<think>{"no": 1}</think>{"a": 1}', [{"a": 1}]),
        ("{x} {'a': 1} " + '{"a": 1}', [{"a": 1}]),
        ("[1, 2]", []),
        ("", []),
        ('{"a": NaN}', []),
        ("{" * 100_000, []),
        ('{"a":' * 5_000, []),
        ('{"a": ' + "9" * 5_000 + "}", []),
        (" " * 200_000 + '{"a": 1}', []),
    ],
)
def test_json_objects(text, expected):
    assert json_objects(text) == expected


@settings(max_examples=50, deadline=None)
@given(st.text(alphabet='{}[]":,abc01\\ntrue \n`', max_size=200))
def test_no_text_breaks_the_reading(text):
    try:
        assert isinstance(ENTITIES.read(text), dict)
    except MalformedAnswer:
        pass


def test_schema_names_the_place_of_a_defect():
    with pytest.raises(MalformedAnswer, match=r"\$\.entities\[0\]\.status.*'maybe'"):
        ENTITIES.read('{"entities": [{"text": "x", "status": "maybe"}]}')
    with pytest.raises(MalformedAnswer, match="extra"):
        ENTITIES.read('{"entities": [], "extra": 1}')


@pytest.mark.parametrize("text", ["I'm sorry, but no.", "I cannot help", "As an AI, I", "Sorry, no", "I am unable to"])
def test_refusals(text):
    assert is_refusal(text)
    assert not is_refusal("Sinus rhythm")
    assert not is_refusal('I cannot {"entities": []}')
