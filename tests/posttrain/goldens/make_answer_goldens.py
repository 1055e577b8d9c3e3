#!/usr/bin/env python3
"""Writes answers.json and countdown.json: what a scorer written apart from ours, with Python's fractions, decimal,
re and ast, makes of answers. Python's standard library is all it needs.

    python3 make_answer_goldens.py
"""
import ast
import json
import operator
import random
import re
from fractions import Fraction
from pathlib import Path

FOLDER = Path(__file__).parent

# Numbers ---------------------------------------------------------------------------------------------------

GROUPED = r"\d{1,3}(?:,\d{3})+(?!\d)"
NUMBER = re.compile(
    r"(?P<sign>(?<![0-9A-Za-z_)\]}%.])-\$?)?"
    r"(?:\\[dt]?frac(?:(?P<n1>\d)(?P<d1>[1-9])|\s*\{\s*(?P<n2>-?\d+)\s*\}\s*\{\s*(?P<d2>0*[1-9]\d*)\s*\})"
    rf"|(?<![0-9A-Za-z_])(?P<whole>{GROUPED}|\d+)(?:(?P<point>\.\d+)|/(?P<below>0*[1-9]\d*))?"
    r"|(?<![0-9A-Za-z_])(?P<only>\.\d+))"
    r"(?P<percent> ?(?:%|percent))?",
    re.ASCII,
)


def plain(text):
    for old, new in [("{,}", ","), ("\\!", ""), ("\\,", ""), ("\\$", "$"), ("\\%", "%"), ("\u2212", "-"), ("\\ ", " ")]:
        text = text.replace(old, new)
    return text


def numbers(text):
    found = []
    for match in NUMBER.finditer(plain(text)):
        part = match.groupdict()
        if part["n1"]:
            value = Fraction(int(part["n1"]), int(part["d1"]))
        elif part["n2"]:
            value = Fraction(int(part["n2"]), int(part["d2"]))
        elif part["only"]:
            value = Fraction("0" + part["only"])
        else:
            whole = part["whole"].replace(",", "")
            value = Fraction(whole + part["point"]) if part["point"] else Fraction(int(whole), int(part["below"] or 1))
        found.append((-value if part["sign"] else value, bool(part["percent"])))
    return found


def same(a, b):
    if a[0] == b[0]:
        return True
    if a[1] == b[1]:
        return False
    return a[0] / 100 == b[0] if a[1] else b[0] / 100 == a[0]


# Answers ---------------------------------------------------------------------------------------------------

def last_part(answer):
    if "</think>" in answer:
        return answer.split("</think>")[-1]
    return "" if "<think>" in answer else answer


def box_of(text):
    begin = text.rfind("\\boxed{")
    if begin < 0:
        return None
    depth, inside = 0, ""
    for char in text[begin + len("\\boxed"):]:
        depth += (char == "{") - (char == "}")
        if depth == 0:
            return inside[1:]
        inside += char
    return None


def lines_behind_marks(text):
    if "####" in text:
        yield text.split("####")[-1].split("\n")[0]
    phrases = list(re.finditer(r"answer(?: is|:| ?=)", text, re.IGNORECASE))
    if phrases:
        yield text[phrases[-1].end():].split("\n")[0]


def number_of(answer):
    text = last_part(answer)
    box = box_of(text)
    if box is not None:
        inside = numbers(box.split("=")[-1])
        return inside[0] if len(inside) == 1 else None
    for line in lines_behind_marks(text):
        if numbers(line):
            return numbers(line)[0]
    return (numbers(text) or [None])[-1]


CASES = [
    ("42", "42"), ("The answer is 42.", "42"), ("1,000", "1000"), ("1000.0", "1000"), ("1,000.00", "1000"),
    ("$1,000", "1000"), ("It costs $-5.", "-5"), ("It is -$5", "-5"), ("16-3", "13"), ("16 - 3 = 13", "13"), ("(-3)", "-3"),
    ("x=-3", "-3"), ("#### 18", "18"), ("so 3\n#### 1,234", "1234"), ("#### Step 1\nThen 5 + 6 = 11", "11"),
    ("#### Final\nThe answer is 7\n9", "7"), ("\\boxed{12}", "12"), ("\\boxed{\\frac{1}{2}}", "0.5"), ("\\boxed{\\frac12}", "1/2"),
    ("\\boxed{\\dfrac{-3}{4}}", "-0.75"), ("-\\frac{3}{4}", "-3/4"), ("\\boxed{x = 5}", "5"), ("\\boxed{2 \\times 3 = 6}", "6"),
    ("\\boxed{12, 13}", "12"), ("\\boxed{12 or 13}", "13"), ("\\boxed{\\text{18 dollars}}", "18"), ("\\boxed{1{,}000}", "1000"),
    ("\\boxed{1\\,000}", "1000"), ("\\boxed{\\$18}", "18"), ("\\boxed{50\\%}", "50"), ("\\boxed{50\\%}", "1/2"), ("50 percent", "0.5"),
    ("0.5", "50%"), ("0.5%", "50"), ("50%", "50%"), ("5000%", "50%"), ("\\boxed{", "3"), ("first \\boxed{1} then \\boxed{2}", "2"),
    ("\\boxed{3", "3"), ("\\boxed{}", "0"), ("", "0"), ("no number", "1"), ("x2 and H2O", "2"), ("version 1.2.3", "3"),
    ("1,0000", "0"), ("1,000,0000", "0"), ("1,000,00", "1000"), ("12,345,678", "12345678"), ("1234,567", "567"), ("1,00", "0"), ("5/0", "0"), ("1/2/4", "4"), (".5", "1/2"), ("3.", "3"), ("007", "7"), ("-0", "0"), ("0.0", "0"),
    ("<think>5</think>6", "6"), ("<think>5", "5"), ("5</think>", "5"), ("<think>a</think><think>7", "7"),
    ("<think>\\boxed{5}</think>The answer is 6 and not 9", "6"), ("ANSWER: 12 of 15", "12"), ("Answer = 3", "3"), ("answer =3 or 4", "3"),
    ("the answer is unknown\nmaybe 4 or 8", "8"), ("123456789012345678", "123456789012345678"),
    ("123456789012345678901234567890", "123456789012345678901234567890"), ("123456789012345678901234567890", "1"),
    ("0.1000", "1/10"), ("2/4", "0.5"), ("6/4", "1.5"), ("10/5", "2"), ("1,000/2", "500"), ("\u22125", "-5"), ("5\u22123", "3"),
    ("70%.", "70"), ("72 km/h", "72"), ("3 apples and 4 pears", "4"), ("2^10", "10"), ("1e5", "5"), ("3d", "3"), ("_7", "7"),
    ("\\frac{1}{0}", "0"), ("\\frac{ 1 }{ 3 }", "1/3"), ("\\frac{x}{3}", "3"), ("\\frac1{2}", "2"), ("\\frac10", "10"),
    ("\\boxed{\\boxed{4}}", "4"), ("**Answer:** 5", "5"), ("It is 3:30", "30"), ("[1] 4", "4"), ("a]-3", "3"), ("10 - -3", "-3"),
    ("9999999999999999999/3", "3333333333333333333"), ("0.000000000000000001", "1/1000000000000000000"),
]


def random_value(rng):
    kind = rng.randrange(7)
    whole = rng.choice([rng.randrange(10), rng.randrange(1000), rng.randrange(10**7)])
    if kind == 0:
        return str(whole)
    if kind == 1:
        return f"{whole:,}"
    if kind == 2:
        return f"{whole:,}.{rng.randrange(100):02d}"
    if kind == 3:
        return f"{whole}/{rng.randrange(1, 50)}"
    if kind == 4:
        return f"\\frac{{{whole}}}{{{rng.randrange(1, 50)}}}"
    if kind == 5:
        return f"{whole}{rng.choice(['%', ' %', ' percent', chr(92) + '%'])}"
    return f"{whole}.{'0' * rng.randrange(1, 4)}"


def random_case(rng):
    value = random_value(rng)
    reference = value if rng.random() < 0.5 else random_value(rng)
    parsed = numbers(reference)[0][0]
    if rng.random() < 0.5:
        reference = str(parsed)
    value = rng.choice(["", "", "$", "-", "-$", "\\$"]) + value + rng.choice(["", "", " dollars", " km", ".", "\n"])
    noise = " ".join(rng.choice(["so", "3", "we", "get", "=", "-", "1,2", "##", "answer", "is", "(", ")", "0.5", "x"])
                     for _ in range(rng.randrange(8)))
    frame = rng.choice(["{n} {v}", "{v} {n}", "\\boxed{{{v}}}", "{n} \\boxed{{{v}}} {n}", "#### {v}\n{n}", "{n} The answer is {v} {n}",
                        "<think>{n}</think>{v}", "<think>{n} {v}", "Answer: {v}\n{n}", "{n}{v}{n}"])
    return frame.format(n=noise, v=value), reference


def answers():
    rng = random.Random(1)
    cases = CASES + [random_case(rng) for _ in range(1500)]
    lines = []
    for answer, reference in cases:
        found, wanted = number_of(answer), numbers(reference)[-1]
        right = found is not None and same(wanted, found)
        lines.append([answer, reference, None if found is None else str(found[0]) + ("%" if found[1] else ""), right])
    return lines


# Countdown -------------------------------------------------------------------------------------------------

OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}


def evaluate(node, used):
    if isinstance(node, ast.Constant) and type(node.value) is int:
        used.append(node.value)
        return Fraction(node.value)
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        return OPERATORS[type(node.op)](evaluate(node.left, used), evaluate(node.right, used))
    raise ValueError("not an expression")


def reaches(expression, given, target):
    try:
        used = []
        value = evaluate(ast.parse(expression, mode="eval").body, used)
    except (SyntaxError, ValueError, ZeroDivisionError):
        return False
    left = list(given)
    for number in used:
        if number not in left:
            return False
        left.remove(number)
    return value == target


def random_expression(rng, numbers_left, depth):
    if depth == 0 or rng.random() < 0.2:
        return str(numbers_left.pop() if numbers_left else rng.randrange(30))
    text = random_expression(rng, numbers_left, depth - 1) + rng.choice([" + ", "-", "*", " / "])
    text += random_expression(rng, numbers_left, depth - 1)
    return f"({text})" if rng.random() < 0.5 else text


def countdown():
    rng = random.Random(2)
    lines = []
    for _ in range(600):
        given = [rng.randrange(1, 20) for _ in range(rng.randrange(2, 6))]
        expression = random_expression(rng, list(given), 3)
        target = rng.randrange(1, 50)
        try:
            value = evaluate(ast.parse(expression, mode="eval").body, [])
            if value.denominator == 1 and rng.random() < 0.8:
                target = int(value)
        except ZeroDivisionError:
            pass
        if rng.random() < 0.1:
            place = rng.randrange(len(expression))
            expression = expression[:place] + rng.choice("()+*/ ") + expression[place:]
        # What Python takes and we do not, or the reverse: signs, powers, whole division, leading zeros and spaces.
        if re.search(r"(^|[-+*/(])\s*[-+]|\*\s*\*|/\s*/|\b0\d|^\s|\(\s*\)|\d\s+\d|[\d)]\s*\(", expression):
            continue
        lines.append([expression, given, target, reaches(expression, given, target)])
    return lines


def write(name, lines):
    text = ",\n".join(json.dumps(line) for line in lines)
    (FOLDER / name).write_text(f"[\n{text}\n]\n")
    print(name, len(lines), "cases,", sum(line[-1] for line in lines), "right")


if __name__ == "__main__":
    write("answers.json", answers())
    write("countdown.json", countdown())
