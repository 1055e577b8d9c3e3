#!/usr/bin/env python3
"""Makes json_schema.json beside this script: JSON Schemas, texts, and what Python's `json` and `jsonschema` (4.26, with
its format checks) say of them.

usage: make_json_schema_goldens.py            writes json_schema.json
       make_json_schema_goldens.py --check    reads lines of [schema, text] from the standard input, and names those
                                              whose text does not satisfy the schema

Each schema comes with texts that satisfy it and are written in the usual way (they must be accepted, and so must all
that they begin with), and with mutants of those: texts in which some characters were lost, doubled or changed, each with
Python's verdict (what Python refuses must be refused; where `is_exact` is set, the verdicts must be equal).
"""

import json
import os
import random
import sys

import jsonschema

HERE = os.path.dirname(os.path.abspath(__file__))
MUTANTS = 60


def refuse_constant(name):
    raise ValueError(name)


def verdict(schema, text):
    try:
        value = json.loads(text, parse_constant=refuse_constant)
        json.dumps(value, ensure_ascii=False).encode()  # no half surrogate pairs
        jsonschema.Draft202012Validator(
            schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER).validate(value)
    except (ValueError, jsonschema.ValidationError, RecursionError):
        return False
    return True


PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 20},
        "age": {"type": "integer", "minimum": 0, "maximum": 130},
        "email": {"type": "string", "format": "email"},
        "tags": {"type": "array", "items": {"enum": ["a", "b", "ü"]}, "maxItems": 3},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}
TREE = {
    "$defs": {"node": {"type": "object", "properties": {"value": {"type": "number"},
                                                       "children": {"type": "array", "items": {"$ref": "#/$defs/node"}}},
                       "required": ["value"], "additionalProperties": False}},
    "$ref": "#/$defs/node",
}
SHAPES = {
    "oneOf": [
        {"type": "object", "properties": {"kind": {"const": "circle"}, "radius": {"type": "number", "exclusiveMinimum": 0}},
         "required": ["kind", "radius"], "additionalProperties": False},
        {"type": "object", "properties": {"kind": {"const": "square"}, "side": {"type": "integer", "minimum": 1}},
         "required": ["kind", "side"], "additionalProperties": False},
    ]
}

# schema, texts; and whether the grammar takes all that Python takes
CASES = [
    (True, ['{"a": [1, -2.5e+3, null, true, false, "x\\n\\u00e9\\ud83d\\ude00 \u00e9\U0001f600"], "": {}}', "[]", "-0.0",
            '[[[[1]]], {"a": {"b": "\\"\\\\\\/"}}]', "0", '"\u4e2d\u6587"', "1E5"], True),
    ({"type": "object"}, ['{"x": {"y": [1, 2, {"z": null}]}, "s": "a \\t b"}', "{}"], True),
    ({"type": "string"}, ['""', '"abc"', '"\\u0041\\ud83d\\ude00"', '"\u00fc\\n"'], True),
    ({"type": ["null", "boolean"]}, ["null", "true", "false"], True),
    ({"type": "number"}, ["0", "-1", "3.25", "1e10", "-2.5E-3"], True),
    ({"type": "array"}, ["[]", '[1, "two", [3]]'], True),
    ({"type": "string", "minLength": 2, "maxLength": 4}, ['"ab"', '"\u00e9\u4e2d\U0001f600x"', '"\\u00e9\\n"'], True),
    ({"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 3}, ["[true]", "[true, false, true]"], True),
    ({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "boolean"}], "items": {"type": "null"},
      "minItems": 1}, ["[1]", "[1, true]", "[2, false, null, null]"], False),
    ({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "boolean"}], "items": False, "minItems": 2},
     ["[1, true]"], False),
    ({"type": "array", "items": {"type": "integer"}, "minItems": 3}, ["[1,2,3]", "[1,2,3,4]"], False),
    ({"type": "array", "maxItems": 0}, ["[]"], True),
    ({"type": "integer"}, ["0", "-15", "123456789012345678901234567890"], False),
    ({"type": "integer", "minimum": 7, "maximum": 1234}, ["7", "10", "99", "100", "999", "1000", "1234"], False),
    ({"type": "integer", "minimum": -15, "exclusiveMaximum": 21}, ["-15", "-9", "0", "20", "11"], False),
    ({"type": "integer", "exclusiveMinimum": -100}, ["-99", "-1", "0", "5", "100000"], False),
    ({"type": "integer", "maximum": -37}, ["-37", "-40", "-100", "-99999"], False),
    ({"type": "integer", "minimum": 0.5, "maximum": 3.5}, ["1", "2", "3"], False),
    ({"type": "number", "minimum": 0, "maximum": 100}, ["0", "0.5", "99.99", "100", "100.0", "7"], False),
    ({"type": "number", "exclusiveMinimum": -2, "exclusiveMaximum": 3}, ["-1.9", "0", "2.999", "-1", "-0.5"], False),
    ({"type": "number", "maximum": -1}, ["-1", "-1.5", "-20", "-1.0"], False),
    ({"enum": ["red", "a\"b\\c\n", 1, 2.5, None, True, [1, 2], {"a": 1}]},
     ['"red"', '"a\\"b\\\\c\\n"', "1", "2.5", "null", "true"], False),
    ({"const": "only"}, ['"only"'], False),
    ({"type": "integer", "enum": [1, 2, "x", 300], "maximum": 100}, ["1", "2"], False),
    (PERSON, ['{"name": "Ada", "age": 36}', '{"name":"\u00dc","age":0,"email":"a.b@example.org","tags":["a","\u00fc"]}',
              '{ "name" : "B" ,\n "age" : 130 , "tags" : [ ] }'], False),
    (TREE, ['{"value": 1}', '{"value": 1, "children": [{"value": 2, "children": []}, {"value": -3e2}]}'], False),
    (SHAPES, ['{"kind": "circle", "radius": 2.5}', '{"kind": "square", "side": 12}'], False),
    ({"type": "object", "properties": {"a": {"type": "integer"}, "ab": {"type": "boolean"}},
      "additionalProperties": {"type": "string"}},
     ['{}', '{"a": 1}', '{"ab": true}', '{"a": 1, "ab": false, "b": "x", "abc": "y", "": "z", "\u00e9\\n": ""}'], False),
    ({"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 1}, ['{"a": 1}', '{"a": 1, "b": 2}'],
     False),
    ({"type": "object", "additionalProperties": {"type": "integer"}, "maxProperties": 2}, ['{}', '{"a": 1, "b": 2}'], False),
    ({"type": "object", "required": ["id"]}, ['{"id": [1, {"x": null}]}'], False),
    ({"type": "object", "propertyNames": {"pattern": "^[a-z]+$"}, "additionalProperties": {"type": "null"}},
     ['{"abc": null, "z": null}'], False),
    ({"type": "object", "patternProperties": {"^x_": {"type": "integer"}}, "additionalProperties": False},
     ['{"x_1": 1, "x_": 2}', "{}"], False),
    ({"type": "string", "pattern": "^[A-Z]{2}-\\d{3,5}$"}, ['"AB-123"', '"XY-12345"'], False),
    ({"type": "string", "pattern": "b.d|^x+$"}, ['"abcde"', '"xxx"', '"b d"'], False),
    ({"type": "string", "pattern": "^(?:a|bc)*[^a-y\\s]?$"}, None, False),
    ({"type": "string", "pattern": "^\\w{2,6}$", "minLength": 2, "maxLength": 6}, ['"a_9"', '"ABCdef"'], False),
    ({"type": "string", "pattern": "^[\"\\\\\\n]+$"}, ['"\\"\\\\\\n"'], False),
    ({"type": "string", "format": "date"}, ['"2024-02-29"', '"2023-12-31"', '"1999-04-30"'], False),
    ({"type": "string", "format": "date-time"}, ['"2024-02-29T23:59:59Z"', '"2000-01-01T00:00:00.123+05:30"'], False),
    ({"type": "string", "format": "time"}, ['"12:34:56Z"', '"23:00:00.5-01:00"'], False),
    ({"type": "string", "format": "uuid"}, ['"123e4567-e89b-12d3-a456-426614174000"'], False),
    ({"type": "string", "format": "ipv4"}, ['"127.0.0.1"', '"255.249.10.0"'], False),
    ({"type": "string", "format": "ipv6"}, ['"::1"', '"2001:db8::ff00:42:8329"', '"1:2:3:4:5:6:7:8"'], False),
    ({"type": "string", "format": "email"}, ['"a@b.org"'], False),
    ({"type": "string", "format": "hostname"}, ['"example.org"', '"a-b.cd"'], False),
    ({"type": "string", "format": "duration"}, ['"P3Y6M4DT12H30M5S"', '"PT5M"', '"P2W"'], False),
    ({"type": "string", "format": "uri"}, ['"https://example.org/a?b=c#d"'], False),
    ({"allOf": [{"type": "object", "properties": {"a": {"type": "integer", "minimum": 3}}, "required": ["a"]},
                {"properties": {"a": {"maximum": 9}, "b": {"type": "boolean"}}, "required": ["b"]}]},
     ['{"a": 5, "b": true}'], False),
    ({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
      "anyOf": [{"required": ["a"]}, {"required": ["b"]}], "additionalProperties": False},
     ['{"a": 1}', '{"b": 2}', '{"a": 1, "b": 2}'], False),
    ({"$ref": "#/$defs/x", "description": "with a sibling", "maximum": 10, "$defs": {"x": {"type": "integer", "minimum": 2}}},
     ["2", "10"], False),
    ({"$defs": {"a/b~c": {"type": "null"}}, "$ref": "#/$defs/a~1b~0c"}, ["null"], False),
    ({"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "null"}, {"$ref": "#"}]}},
     ['["a", null, ["b", []]]'], False),
    ({"properties": {"x": {"type": "integer"}, "never": False}, "additionalProperties": False}, ['{"x": 1}', "{}"], False),
    ({"minLength": 3}, ['"abc"'], False),
    ({"type": ["string", "object"], "minLength": 1, "properties": {"k": {"type": "null"}}, "required": ["k"]},
     ['"a"', '{"k": null}'], False),
    ({"type": "number", "multipleOf": 1}, ["4", "-7"], False),
    ({"type": "object", "properties": {"steps": {"type": "array", "items": {"type": "object", "properties": {
        "explanation": {"type": "string"}, "output": {"type": "string"}}, "required": ["explanation", "output"],
        "additionalProperties": False}}, "final_answer": {"type": "string"}}, "required": ["steps", "final_answer"],
      "additionalProperties": False},
     ['{"steps": [{"explanation": "a", "output": "b"}], "final_answer": "c"}', '{"steps":[],"final_answer":""}'], False),
]


def mutants_of(text, rng):
    alphabet = '{}[]",:0123456789-+.eE \\nultrfasb/\n\t\u00e9\U0001f600' + text
    characters = list(text)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        at = rng.randrange(len(characters) + 1)
        kind = rng.randrange(4)
        if kind == 0:
            characters[at:at + 1] = []
        elif kind == 1:
            characters.insert(at, rng.choice(alphabet))
        elif kind == 2:
            characters[at:at + 1] = [rng.choice(alphabet)]
        else:
            end = rng.randrange(len(characters) + 1)
            characters[min(at, end):max(at, end)] *= 2
    return "".join(characters)


def main():
    rng = random.Random(8)
    cases = []
    for schema, texts, is_exact in CASES:
        texts = texts if texts is not None else ['"aabcaz"', '""', '"bc"']
        for text in texts:
            assert verdict(schema, text), (schema, text)
        mutants = {}
        while len(mutants) < MUTANTS:
            mutant = mutants_of(rng.choice(texts), rng).strip(" \t\n\r")  # what is around a text is not its own
            mutants[mutant] = verdict(schema, mutant)
        cases.append({"schema": json.dumps(schema, ensure_ascii=False), "is_exact": is_exact, "texts": texts,
                      "mutants": [[text, is_valid] for text, is_valid in sorted(mutants.items())]})
    with open(os.path.join(HERE, "json_schema.json"), "w", encoding="utf-8") as out:
        out.write("[\n" + ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases) + "\n]\n")


def check():
    failures = 0
    for line in sys.stdin:
        schema, text = json.loads(line)
        if not verdict(json.loads(schema), text):
            failures += 1
            print(f"{schema}: {text}")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    check() if "--check" in sys.argv[1:] else main()
