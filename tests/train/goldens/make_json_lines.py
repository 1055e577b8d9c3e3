"""Makes tests/train/goldens/json_lines.jsonl: JSON lines as Python writes them, each followed by its text in hexadecimal
UTF-8, where halves of surrogate pairs that stand alone are U+FFFD.

usage: make_json_lines.py
"""
import json
import pathlib
import random

FOLDER = pathlib.Path(__file__).parent
PIECES = ["plain words ", "\"", "\\", "/", "\b\f\n\r\t", "\x00\x1f\x7f", "Straße", "汉字", "🙂", "\u2028", "é", "￿", "a" * 40,
          "\ud83d", "\ude42", "\ud83dx", "\\u0041", "text", "{[", "]},"]


def value(random_, depth):
    kind = random_.randrange(9 if depth < 4 else 7)
    simple = [None, True, False, random_.randrange(-10**12, 10**12), random_.uniform(-1e9, 1e9),
              random_.choice([0, -0.0, 1e300, 5e-324, 10**30]), "".join(random_.choices(PIECES, k=3))]
    if kind < 7:
        return simple[kind]
    if kind == 7:
        return [value(random_, depth + 1) for _ in range(random_.randrange(4))]
    return {"k%d" % i: value(random_, depth + 1) for i in range(random_.randrange(4))}


def main():
    random_ = random.Random(1)
    lines = []
    for i in range(120):
        text = "".join(random_.choices(PIECES, k=random_.randrange(8)))
        before = {"b%d" % j: value(random_, 0) for j in range(random_.randrange(3))}
        after = {"a%d" % j: value(random_, 0) for j in range(random_.randrange(3))}
        item = {**before, "text": text, **after}
        line = json.dumps(item, ensure_ascii=bool(i % 2) or any("\ud800" <= c < "\ue000" for c in repr(item)),
                          separators=random_.choice([None, (",", ":"), (" , ", " : ")]))
        try:
            line.encode()
        except UnicodeEncodeError:
            line = json.dumps(item)
        # What the line says: pairs of escapes are one character, halves alone none.
        said = json.loads(line)["text"].encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        lines += [line, said.encode().hex()]
    (FOLDER / "json_lines.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


main()
