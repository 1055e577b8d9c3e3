#!/usr/bin/env python3
"""Makes the goldens of chat templates with `jinja2` (3.1.6) as `transformers` (5) sets it up.

usage: make_chat_template_goldens.py [FOLDER_WITH_TEMPLATES]

Written beside this script:
  jinja_snippets.json   the templates of jinja_snippets.py, and what each prints, or how it fails
  chat_templates.json   conversations with what else a template is given; and for each template of the folder
                        (shared/data/templates, which is not committed) and each conversation the length and XXH64 of
                        what it renders to, or how it fails. The templates' own XXH64 tells whether a folder has the
                        same.

Failures are ["refusal", message] where the template called `raise_exception`, or ["error", Python's class and message].
`strftime_now` says 5 November 2025, 13:07:09 everywhere.
"""

import datetime
import json
import os
import random
import struct
import sys

import jinja2
from transformers.utils import chat_template_utils

from jinja_snippets import SNIPPETS, VARIABLES

HERE = os.path.dirname(os.path.abspath(__file__))


class FixedTime(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2025, 11, 5, 13, 7, 9)


chat_template_utils.datetime = FixedTime


P1, P2, P3, P4, P5 = (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5)
MASK = (1 << 64) - 1


def rotated(value, bits):
    return (value << bits | value >> (64 - bits)) & MASK


def mixed(lane, word):
    return rotated((lane + word * P2) & MASK, 31) * P1 & MASK


def hash_of(text):
    """XXH64 of the text's UTF-8, in hexadecimal."""
    data = text.encode()
    whole = len(data) // 32 * 32
    if whole:
        a, b, c, d = (P1 + P2) & MASK, P2, 0, -P1 & MASK
        for w, x, y, z in struct.iter_unpack("<4Q", data[:whole]):
            a, b, c, d = mixed(a, w), mixed(b, x), mixed(c, y), mixed(d, z)
        value = (rotated(a, 1) + rotated(b, 7) + rotated(c, 12) + rotated(d, 18)) & MASK
        for lane in (a, b, c, d):
            value = ((value ^ mixed(0, lane)) * P1 + P4) & MASK
    else:
        value = P5
    value = (value + len(data)) & MASK
    rest = data[whole:]
    while len(rest) >= 8:
        value = (rotated(value ^ mixed(0, struct.unpack("<Q", rest[:8])[0]), 27) * P1 + P4) & MASK
        rest = rest[8:]
    if len(rest) >= 4:
        value = (rotated(value ^ (struct.unpack("<I", rest[:4])[0] * P1 & MASK), 23) * P2 + P3) & MASK
        rest = rest[4:]
    for byte in rest:
        value = rotated(value ^ (byte * P5 & MASK), 11) * P1 & MASK
    value = (value ^ value >> 33) * P2 & MASK
    value = (value ^ value >> 29) * P3 & MASK
    return f"{value ^ value >> 32:016x}"


def failure(error):
    if type(error) is jinja2.exceptions.TemplateError:
        return ["refusal", str(error)]
    return ["error", f"{type(error).__name__}: {error}"[:200]]


def byte_ranges(text, ranges):
    return [[len(text[:begin].encode()), len(text[:end].encode())] for begin, end in ranges]


def snippet(template):
    try:
        compiled = chat_template_utils._compile_jinja_template(template)
        text, ranges = None, []
        blocks = []
        with compiled.environment.activate_tracker(blocks, ranges):
            for block in compiled.generate(**VARIABLES):
                blocks.append(block)
        text = "".join(blocks)
        text.encode()
    except Exception as error:
        return {"template": template, "failure": failure(error)}
    result = {"template": template, "text": text}
    if ranges:
        result["generations"] = byte_ranges(text, ranges)
    return result


# Conversations.

TEXTS = [
    "Hello!", "What is 2+2?", "  spaces around  ", "", "Two\nlines\n\nand more", "Grüße aus Köln, 你好, 😀!", "<b>&amp;</b> \"q\" 'r'",
    "<think>Let me see.</think>The answer is 4.", "<think>\nHm.\n</think>\n\nYes.", "Trailing newline\n", "{{ braces }} {% if %}",
    "Tab\tand \\ backslash", "1", "Tell me about Paris.", "[1, 2]", "<|im_end|> <｜User｜> [INST]", "a" * 300,
]
WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "Get the weather.\nOf a city.", "parameters": {
        "type": "object", "properties": {
            "city": {"type": "string", "description": "The city, e.g. \"Zürich\""},
            "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "default": "celsius"},
            "days": {"type": "integer", "minimum": 1, "nullable": True}},
        "required": ["city"]}}}
SEARCH = {"type": "function", "function": {
    "name": "search", "description": "Search & find <things>", "parameters": {
        "type": "object", "properties": {
            "query": {"type": "string"}, "tags": {"type": "array", "items": {"type": "string"}},
            "options": {"type": "object", "properties": {"deep": {"type": "boolean"}, "limit": {"type": ["integer", "null"]}},
                        "required": ["deep"]},
            "either": {"anyOf": [{"type": "string"}, {"type": "number"}]}},
        "required": ["query", "tags"]},
    "return": {"type": "object", "properties": {"hits": {"type": "integer"}}}}}
PING = {"type": "function", "function": {"name": "ping", "description": "", "parameters": {"type": "object", "properties": {}}}}
DOCUMENTS = [{"title": "First", "text": "Bears are mammals."}, {"title": "Zweites", "text": "Über Bären:\nsie schlafen.", "id": 7}]


def call(name, arguments, call_id="call_1"):
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def plain(rng, turns, system=None):
    messages = [] if system is None else [{"role": "system", "content": system}]
    for turn in range(turns):
        messages.append({"role": "user" if turn % 2 == 0 else "assistant", "content": rng.choice(TEXTS)})
    return messages


def tool_turn(rng, arguments, result, content="", reasoning=None, ids=("call_00001", "call_00002"), many=False):
    assistant = {"role": "assistant", "content": content, "tool_calls": [call("get_weather", arguments, ids[0])]}
    if many:
        assistant["tool_calls"].append(call("search", {"query": "bears", "tags": ["a", "ü"], "options": {"deep": True}}, ids[1]))
    if reasoning is not None:
        assistant["reasoning_content"] = reasoning
    messages = [{"role": "user", "content": "Weather in Zürich?"}, assistant,
                {"role": "tool", "tool_call_id": ids[0], "name": "get_weather", "content": result}]
    if many:
        messages.append({"role": "tool", "tool_call_id": ids[1], "name": "search", "content": "[]"})
    return messages


def conversations():
    rng = random.Random(11)
    found = []

    def add(messages, **options):
        found.append({"messages": messages, **options})

    add([{"role": "user", "content": "Hello!"}])
    add([{"role": "user", "content": "Hello!"}], add_generation_prompt=True)
    for turns in (1, 2, 3, 4, 5, 7):
        add(plain(rng, turns, "You are helpful."), add_generation_prompt=turns % 2 == 1)
        add(plain(rng, turns))
    for text in TEXTS:
        add([{"role": "system", "content": text}, {"role": "user", "content": text}, {"role": "assistant", "content": text},
             {"role": "user", "content": "go on"}], add_generation_prompt=True)
    arguments = {"city": "Zürich", "unit": "celsius", "days": 2}
    for given in (arguments, json.dumps(arguments, ensure_ascii=False), {}, "{}", {"city": "a\"b\\c\nd", "x": [1, 2.5, None, True, {"y": "z"}]}):
        for many in (False, True):
            add(tool_turn(rng, given, '{"temp": 21.5}', many=many), tools=[WEATHER, SEARCH], add_generation_prompt=True)
    add(tool_turn(rng, arguments, '{"temp": 21.5}', content="Let me look.", reasoning="I need the weather.")
        + [{"role": "assistant", "content": "It is 21.5.", "reasoning_content": "Now I know."}, {"role": "user", "content": "Thanks"}],
        tools=[WEATHER, SEARCH, PING], add_generation_prompt=True)
    add(tool_turn(rng, arguments, {"temp": 21.5, "sky": "klar"}), tools=[WEATHER])
    add(tool_turn(rng, arguments, ["a", "b"]), tools=[WEATHER])
    add([{"role": "system", "content": "Use tools."}] + tool_turn(rng, arguments, "sunny", ids=("abcdefghi", "jklmnopqr"), many=True)
        + [{"role": "assistant", "content": "Sunny."}], tools=[WEATHER, SEARCH])
    add([{"role": "user", "content": "Hi"}], tools=[PING], add_generation_prompt=True)
    add([{"role": "system", "content": "S"}, {"role": "user", "content": "Hi"}], tools=[SEARCH, WEATHER, PING])
    add([{"role": "user", "content": "Hi"}], tools=[WEATHER["function"]], add_generation_prompt=True)
    add([{"role": "user", "content": "Hi"}], tools=[], add_generation_prompt=True)
    for thinking in (True, False):
        variables = {"enable_thinking": thinking, "thinking": thinking, "reasoning_effort": "high" if thinking else "low"}
        add([{"role": "user", "content": "Think?"}], variables=variables, add_generation_prompt=True)
        add([{"role": "system", "content": "S"}, {"role": "user", "content": "A"},
             {"role": "assistant", "content": "B", "reasoning_content": "because"}, {"role": "user", "content": "C"}],
            variables=variables, add_generation_prompt=True)
        add(tool_turn(rng, arguments, "x", reasoning="r"), tools=[WEATHER], variables=variables, add_generation_prompt=True)
        add([{"role": "user", "content": "A"}, {"role": "assistant", "content": "<think>t</think>B"},
             {"role": "user", "content": "C"}, {"role": "assistant", "content": "D", "thinking": "deep"}], variables=variables)
    add([{"role": "user", "content": "A"}, {"role": "assistant", "content": "B", "reasoning": "why\n\nnot"}])
    add([{"role": "user", "content": [{"type": "text", "text": "Part one"}, {"type": "text", "text": "part two"}]}],
        add_generation_prompt=True)
    add([{"role": "system", "content": [{"type": "text", "text": "Sys"}]}, {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What?"}]},
         {"role": "assistant", "content": [{"type": "text", "text": "That."}]}, {"role": "user", "content": "ok"}], add_generation_prompt=True)
    add([{"role": "user", "content": [{"type": "image", "image": "x.png"}]}])
    add([{"role": "user", "content": "Bears?"}], documents=DOCUMENTS, add_generation_prompt=True)
    add([{"role": "system", "content": "S"}, {"role": "user", "content": "Bears?"}], documents=DOCUMENTS, tools=[WEATHER],
        variables={"citation_options": {"mode": "fast"}, "enable_citations": True}, add_generation_prompt=True)
    # what some templates refuse
    add([{"role": "assistant", "content": "I begin."}, {"role": "user", "content": "Oh."}])
    add([{"role": "user", "content": "A"}, {"role": "user", "content": "B"}])
    add([{"role": "user", "content": "A"}, {"role": "system", "content": "late"}, {"role": "user", "content": "B"}])
    add([{"role": "developer", "content": "Dev."}, {"role": "user", "content": "A"}], add_generation_prompt=True)
    add([{"role": "nobody", "content": "?"}])
    add([{"role": "system", "content": "alone"}])
    add([{"role": "user"}])
    add([{"role": "user", "content": None}, {"role": "assistant", "content": None, "tool_calls": [call("ping", {})]}])
    add([{"role": "tool", "content": "out of the blue", "tool_call_id": "x"}])
    add([{"role": "user", "content": 5}, {"role": "assistant", "content": {"a": 1}}])
    add([{"content": "no role"}])
    add([{"role": "user", "content": "A"}, {"role": "assistant", "content": "", "tool_calls": []}])
    add([{"role": "user", "content": "A"}, {"role": "assistant", "tool_calls": [{"function": {"name": "ping", "arguments": {}}}]},
         {"role": "tool", "content": "pong"}, {"role": "tool", "content": "pong 2"}, {"role": "user", "content": "B"}], tools=[PING])
    # an answer that goes on
    for last in ("The answer", "Trailing space ", "{\"name\": \"", "<think>Hm"):
        add([{"role": "user", "content": "A"}, {"role": "assistant", "content": last}], continue_final_message=True)
    add([{"role": "user", "content": "A"}, {"role": "assistant", "content": [{"type": "text", "text": "One"}, {"type": "text", "text": "two "}]}],
        continue_final_message=True)
    # what templates of tools and documents ask for
    asked = {"functions": json.dumps([WEATHER["function"]], indent=1), "datetime": "5 Nov 2025", "bos_token": "<b>"}
    for turns in (1, 2, 3, 5):
        for system in (None, "S & T"):
            add(plain(rng, turns, system), tools=[WEATHER, SEARCH], documents=DOCUMENTS, variables=asked, add_generation_prompt=turns % 2 == 1)
    for given in (arguments, json.dumps(arguments), {}):
        for many in (False, True):
            add(tool_turn(rng, given, "mild", content="Ok.", ids=("abcdefghi", "jklmnopqr"), many=many), tools=[WEATHER, SEARCH],
                documents=DOCUMENTS, variables=asked, add_generation_prompt=True)
    # long ones
    add(plain(rng, 21, "S"), add_generation_prompt=True)
    long = plain(rng, 2, "S")
    for _ in range(6):
        long += tool_turn(rng, arguments, rng.choice(TEXTS) or "x", content=rng.choice(TEXTS), reasoning=rng.choice(TEXTS), many=True)
        long.append({"role": "assistant", "content": rng.choice(TEXTS)})
    add(long, tools=[WEATHER, SEARCH, PING], add_generation_prompt=True)
    add(long, tools=[WEATHER, SEARCH, PING], documents=DOCUMENTS, variables=asked, add_generation_prompt=True)
    return found


TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}


def rendered(template, conversation):
    try:
        messages = chat_template_utils._normalize_chat_messages(conversation["messages"])
        texts, _ = chat_template_utils.render_jinja_template(
            conversations=[messages], tools=conversation.get("tools"), documents=conversation.get("documents"),
            chat_template=template, add_generation_prompt=conversation.get("add_generation_prompt", False),
            continue_final_message=conversation.get("continue_final_message", False),
            **{**TOKENS, **conversation.get("variables", {})})
        return [len(texts[0].encode()), hash_of(texts[0])]
    except Exception as error:
        return failure(error)


def main():
    with open(os.path.join(HERE, "jinja_snippets.json"), "w") as file:
        lines = [json.dumps(snippet(template)) for template in SNIPPETS]
        file.write('{"variables": ' + json.dumps(VARIABLES) + ',\n"snippets": [\n' + ",\n".join(lines) + "\n]}\n")
    if len(sys.argv) < 2:
        return
    talks = conversations()
    templates = {}
    for name in sorted(os.listdir(sys.argv[1])):
        if not name.endswith(".jinja"):
            continue
        with open(os.path.join(sys.argv[1], name), newline="") as file:
            source = file.read()
        templates[name] = {"hash": hash_of(source), "rendered": [rendered(source, talk) for talk in talks]}
    with open(os.path.join(HERE, "chat_templates.json"), "w") as file:
        file.write('{"tokens": ' + json.dumps(TOKENS) + ',\n"conversations": [\n')
        file.write(",\n".join(json.dumps(talk) for talk in talks))
        file.write('\n],\n"templates": {\n')
        file.write(",\n".join(f"{json.dumps(name)}: {json.dumps(found)}" for name, found in templates.items()))
        file.write("\n}}\n")


main()
