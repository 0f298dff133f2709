# SPDX-License-Identifier: GPL-2.0-or-later
"""The messages between a worker and its parent survive any pipe."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unet_segmenter.engine.errors import JobError
from unet_segmenter.engine.job import JobSpec
from unet_segmenter.runners.protocol import (
    Advance,
    Failure,
    Hello,
    Log,
    MessageParser,
    Result,
    decode,
    decode_job,
    encode,
    encode_job,
)

texts = st.text(max_size=40)
messages = st.one_of(
    st.builds(Hello, st.integers(0, 9), texts, texts, st.dictionaries(texts, texts, max_size=3)),
    st.builds(Advance, st.integers(0, 1000), st.integers(0, 1000), st.none() | texts),
    st.builds(Log, st.sampled_from(["info", "warning", "error"]), texts),
    st.builds(Result, st.dictionaries(texts, st.integers() | texts, max_size=3)),
    st.builds(Failure, st.integers(0, 255), texts, texts),
)


@given(messages)
def test_a_message_is_one_line_and_comes_back_equal(message):
    line = encode(message)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode(line) == message


@given(st.lists(messages, max_size=6), st.integers(1, 50))
def test_messages_do_not_depend_on_where_the_pipe_cuts(sent, step):
    stream = b"".join(map(encode, sent))
    parser = MessageParser()
    chunks = [stream[i : i + step] for i in range(0, len(stream), step)]
    received = [m for chunk in chunks for m in parser.feed(chunk)] + parser.close()
    assert received == sent


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (b"INFO: oneDNN custom operations are on", "INFO: oneDNN custom operations are on"),
        (b"\xff\xfe broken bytes", "\ufffd\ufffd broken bytes"),
        (b"[1, 2]", "[1, 2]"),
        (b"null", "null"),
        (b'{"type": "dance"}', '{"type": "dance"}'),
        (b'{"type": "progress", "done": 1}', '{"type": "progress", "done": 1}'),
        (b'{"type":"progress","done":"x","total":2}', '{"type":"progress","done":"x","total":2}'),
        (b'{"type":"progress","done":true,"total":2}', None),
        (b'{"type":"log","level":"loud","message":"a"}', None),
        (b'{"type":["log"],"message":"a"}', None),
        (b"[" * 100_000, None),
    ],
)
def test_a_line_that_is_no_message_becomes_a_log(line, shown):
    message = decode(line)
    assert isinstance(message, Log)
    assert message.level == "info"
    assert message.message == (line.decode() if shown is None else shown)


@given(st.binary(max_size=300), st.integers(1, 20))
def test_no_bytes_break_the_parser_or_hide_the_message_after_them(noise, step):
    parser = MessageParser(max_line=100)
    stream = noise + b"\n" + encode(Advance(1, 2))
    received = [
        message
        for i in range(0, len(stream), step)
        for message in parser.feed(stream[i : i + step])
    ]
    assert received[-1] == Advance(1, 2)


@pytest.mark.parametrize("step", [7, 1000, 10_000])
def test_a_line_that_is_too_long_is_dropped_with_one_warning(step):
    parser = MessageParser(max_line=1000)
    stream = b"x" * 5000 + b"\n" + encode(Advance(3, 4))
    received = [m for i in range(0, len(stream), step) for m in parser.feed(stream[i : i + step])]
    assert [type(m) for m in received] == [Log, Advance]
    assert received[0].level == "warning"
    assert "too long" in received[0].message
    assert len(received[0].message) < 400


def test_blank_lines_say_nothing():
    parser = MessageParser()
    assert parser.feed(b"\n \r\n\n") == []
    assert parser.close() == []


def test_a_last_line_without_end_is_read_when_the_pipe_closes():
    parser = MessageParser()
    assert parser.feed(encode(Log("info", "bye"))[:-1]) == []
    assert parser.close() == [Log("info", "bye")]


def test_a_job_travels_through_its_file():
    job = JobSpec("in put.tif", "öut.tif", "aeroscapes", classes=("road",), extent=(0, 1, 2, 3))
    assert decode_job(encode_job("segment", job)) == ("segment", job)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"protocol": 99}, "protocol 99"),
        ({"kind": "dance"}, "'dance' is unknown"),
        ({"job": {"input": "a"}}, "incomplete"),
    ],
)
def test_a_job_file_that_does_not_fit_is_refused_in_one_sentence(change, words):
    content = json.loads(encode_job("segment", JobSpec("a.tif", "b.tif", "m")))
    with pytest.raises(JobError, match=words):
        decode_job(json.dumps({**content, **change}))


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null"])
def test_a_broken_job_file_is_refused(text):
    with pytest.raises(JobError, match="cannot be read"):
        decode_job(text)
