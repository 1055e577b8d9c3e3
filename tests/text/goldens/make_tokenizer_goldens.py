#!/usr/bin/env python3
"""Makes the goldens of tests/text with the `tokenizers` library (0.23).

usage: make_tokenizer_goldens.py [FOLDER_WITH_DEEPSEEK_V3_TOKENIZER]

Written beside this script:
  small/tokenizer.json, small/tokenizer_config.json   a tokenizer of 700 tokens, trained here
  variants.json    changes to the small tokenizer (steps, added tokens, model options), texts and their ids
  trained.json     what the library's trainer learns from the corpus
  corpus.json      fragments and character ranges from which 12,000 lines are put together by the rule of
                   `corpus_line`, which tests/text/golden_corpus.h repeats in C++
  small_corpus.bin, deepseek_corpus.bin   a 32-bit hash of the ids of each line, little-endian
"""

import copy
import json
import os
import struct
import sys

os.environ["TOKENIZERS_PARALLELISM"] = "false"
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

HERE = os.path.dirname(os.path.abspath(__file__))
LINES = 12000

FRAGMENTS = [
    # prose
    "The quick brown fox jumps over the lazy dog. ", "It's what they've said; we'll see, I'd hope.", "Hello, world!",
    "naïve café über straße", "Łódź, Çeşme, Ørsted", "¿Qué tal? ¡Bien!", "С новым годом, товарищи!",
    "Ελληνικά γράμματα", "שלום עולם", "مرحبا بالعالم، كيف الحال؟", "نص‌فارسی می‌نویسم", "हिन्दी में लिखा हुआ",
    "ภาษาไทยไม่มีช่องว่าง", "தமிழ் எழுத்து", "한국어 문장입니다.", "가나다라", "\u1100\u1161\u11a8\u1112\u1161\u11ab",
    "今天天气很好，我们去公园吧。", "深度求索", "これは日本語の文章です。", "カタカナとひらがなと漢字", "ﾊﾝｶｸ", "〇〆々ヶ",
    "𠮷野家で𩸽を食べる", "㐀㐁㐂", "Việt Nam đất nước", "e\u0301a\u0300o\u0302\u0323", "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤A͠L̻G̨O",
    # emoji
    "👩‍👩‍👧‍👦", "🏳️‍🌈", "👍🏽", "🇩🇪🇯🇵", "😀😂🤣", "🫨🩷🪿", "1️⃣2️⃣", "❤️", "🧑🏿‍🚀abc", "⌚️x",
    # code
    "int main(void) { return 0; }\n", "def f(x):\n\treturn x ** 2\n", "    if (a[i] != b->c && !d) {\n",
    "#include <vector>\n", "std::cout << \"x\\n\";", "SELECT * FROM t WHERE a='b';", "<div class=\"a\">&nbsp;</div>",
    "https://example.org/a?b=c&d=%20#e", "user.name+tag@mail.example", "C:\\Users\\x\\", "foo_bar fooBar FooBar FOO",
    "x=y;//z", "/* ... */", "{{{}}}[[[]]]", "=>->::==!=<=", "$HOME/${X}`y`", "~~~---___***",
    # numbers
    "0123456789" * 7, "3.14159", "1,234,567.89", "2024-12-26T00:00:00Z", "½ ² ³ ⅷ Ⅻ ①", "٠١٢٣٤٥", "०१२३४", "１２３",
    "0x1F 0b101 1e-9", "12", "7", "1000000",
    # white space
    " ", "  ", "   ", "          ", "\t", "\t\t", "\n", "\n\n", "\r\n", "\r", " \n ", "\n  \n", "\u00a0", "\u2003\u2003",
    "\u3000", "\u180e", "\u200b", "\u200d", "\u2028", "\u2029", "\x85", "\x0b\x0c", "\ufeff", "\u1680", " \t \r\n\t ",
    # control and odd characters
    "\x00", "\x01\x02\x1f\x7f", "\x9f\x80", "\ufffd", "\uffff", "\U0010ffff", "\ue000\uf8ff", "\u202eabc\u202c", "\u2066x\u2069",
    "…—–‘’“”„«»", "©®™§¶†‡", "€£¥₹₿", "∀x∈ℝ: ∃y√∞≠≈", "←↑→↓⇒", "┌─┐│█▓", "♔♕♖", "ℵℶ", "ǅǈ", "ﬁﬂﬀ", "İıſ", "ß", "ʼn",
    # words that the patterns take apart
    "'s", "'S", "'ll", "n't", "!abc", "#tag", "(x)", " (y) ", "a.b.c", "don't", " 'quoted' ", "...", "..!\n", "!!!\r\n\r\n",
    "a", "b ", " c", "Zz", "the", " the", " of and", "ing", "tion ",
    # special tokens inside text, whole and broken
    "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>", "<｜User｜>", "<｜Assistant｜>", "<|EOT|>",
    "<｜fim▁hole｜>", "<｜tool▁calls▁begin｜>", "<｜place▁holder▁no▁7｜>", "<｜User", "｜>", "<|EOT", "<｜", "▁",
    "<<｜User｜>>", "<｜place▁holder▁no▁77｜>",
]
BROKEN = [  # not UTF-8
    b"\xff", b"\xc3", b"\xc3(", b"\xe4\xb8", b"\xe4\xb8x", b"\xf0\x9f\x98", b"\xf0\x9f", b"\x80\x80", b"\xc0\xaf",
    b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe0\x80\x80", b"a\xfe\xffb", b"\xf8\x88\x80\x80\x80",
]
RANGES = [  # of code points, both ends included
    (0x20, 0x7E), (0x30, 0x39), (0x61, 0x7A), (0x00, 0x2FF), (0x300, 0x36F), (0x370, 0x52F), (0x590, 0x7FF),
    (0x900, 0xDFF), (0xE00, 0x10FF), (0x1100, 0x11FF), (0x1680, 0x18AF), (0x1E00, 0x1FFF), (0x2000, 0x206F),
    (0x2070, 0x2BFF), (0x2C00, 0x2FFF), (0x3000, 0x30FF), (0x3100, 0x4DBF), (0x4E00, 0x9FFF), (0xA000, 0xABFF),
    (0xAC00, 0xD7A3), (0xE000, 0xFAFF), (0xFB00, 0xFFFF), (0x10000, 0x11FFF), (0x12000, 0x1BFFF), (0x1CC00, 0x1EFFF),
    (0x1F000, 0x1FAFF), (0x1FB00, 0x20FFF), (0x2B700, 0x2EE5F), (0x30000, 0x323AF), (0xE0000, 0xE01EF),
]

# Small in the file: the reader takes each fragment as hexadecimal bytes.
FRAGMENT_BYTES = [f.encode() for f in FRAGMENTS] + BROKEN
MASK = (1 << 64) - 1


def splitmix64(state):
    """One step of Steele, Lea and Flood's generator: the new state and a number."""
    state = (state + 0x9E3779B97F4A7C15) & MASK
    z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return state, z ^ (z >> 31)


def corpus_line(index):
    """Line `index`: one to eight parts, each a fragment (3 of 4) or one to six characters of one range."""
    state = index * 1000003
    def draw(bound):
        nonlocal state
        state, number = splitmix64(state)
        return number % bound
    line = b""
    for _ in range(1 + draw(8)):
        if draw(4) != 0:
            line += FRAGMENT_BYTES[draw(len(FRAGMENT_BYTES))]
        else:
            first, last = RANGES[draw(len(RANGES))]
            for _ in range(1 + draw(6)):
                line += chr(first + draw(last - first + 1)).encode()
    return line


def hash_ids(ids):
    """FNV-1a over the ids as little-endian 32-bit numbers."""
    value = 0x811C9DC5
    for byte in struct.pack(f"<{len(ids)}i", *ids):
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return value


def write_corpus_hashes(name, tokenizer, lines):
    with open(os.path.join(HERE, name), "wb") as out:
        for line in lines:
            ids = tokenizer.encode(line.decode("utf-8", "replace"), add_special_tokens=False).ids
            out.write(struct.pack("<I", hash_ids(ids)))


DEEPSEEK_STEPS = [
    r"\p{N}{1,3}",
    "[一-龥぀-ゟ゠-ヿ]+",
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+""",
]


def untrained():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(p), "isolated") for p in DEEPSEEK_STEPS]
        + [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def make_trained(lines):
    """What the library learns from the first 2,000 lines."""
    results = []
    for vocab_size, min_frequency in [(1200, 2), (5000, 3), (800, 0)]:
        tokenizer = untrained()
        tokenizer.train_from_iterator(
            (line.decode("utf-8", "replace") for line in lines[:2000]),
            trainers.BpeTrainer(vocab_size=vocab_size, min_frequency=min_frequency, show_progress=False,
                                special_tokens=["<bos>", "<eos>", "<pad>"],
                                initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
        merges = json.loads(tokenizer.to_str())["model"]["merges"]
        results.append({"vocab_size": vocab_size, "min_frequency": min_frequency,
                        "tokens": tokenizer.get_vocab_size(), "merges": "".join(f"{a} {b}\n" for a, b in merges)})
    return results


def make_small():
    tokenizer = untrained()
    trainer = trainers.BpeTrainer(
        vocab_size=690, special_tokens=["<bos>", "<eos>", "<pad>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    texts = [f for f in FRAGMENTS if "<｜" not in f]
    tokenizer.train_from_iterator(texts * 3, trainer)
    tokenizer.add_tokens([AddedToken("<|user|>", normalized=False), AddedToken("<|end|>", normalized=True)])
    return tokenizer


def patched(base, **changes):
    """A copy of the small tokenizer's JSON with keys replaced; `model` and `added` are merged in."""
    result = copy.deepcopy(base)
    result["model"].update(changes.pop("model", {}))
    result["added_tokens"] += changes.pop("added", [])
    result.update(changes)
    return result


def added(content, **flags):
    token = {"id": 0, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": False, "special": False}
    token.update(flags)
    return token


def variant_changes(base):
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    def split(pattern, behavior="Isolated", invert=False, kind="Regex"):
        return {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": invert}
    def sequence(*steps, last=byte_level):
        return {"type": "Sequence", "pretokenizers": list(steps) + [last]}
    first = max(t["id"] for t in base["added_tokens"]) + 1
    changes = []
    for behavior in ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]:
        for invert in [False, True]:
            changes.append({"pre_tokenizer": sequence(split(r"\s|[-.]", behavior, invert))})
            changes.append({"pre_tokenizer": sequence(split("a", behavior, invert, "String"))})
            changes.append({"pre_tokenizer": sequence(split(r"\d*", behavior, invert))})
    for gpt2 in [False, True]:
        for space in [False, True]:
            last = dict(byte_level, add_prefix_space=space, use_regex=gpt2)
            changes.append({"pre_tokenizer": sequence(split(r"[\r\n]"), last=last)})
            changes.append({"pre_tokenizer": last})
    for single in [False, True]:
        changes.append({"pre_tokenizer": sequence({"type": "Digits", "individual_digits": single})})
    for pattern in [r"(?i:'s|'t|'ll)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s+", r"\w+", r"\W+", r"\S+",
                    r"[^\S]+", r"^.", r".$", r"\bt", r"e\B", r"\h{2}", r"\p{Han}+", r"\P{L}", r"\p{^Lu}", r"x{,2}b|[\s\d_]+",
                    r"(?<=a)\w|(?<!\s)[\w\-]", r"(?>a|b)c?", r"\u0041|\x41|\x{42}|\v|\t", r"[\w']{2,4}", r"\A.", r".\z", r"\Z."]:
        changes.append({"pre_tokenizer": sequence(split(pattern))})
    for form in ["NFC", "NFD", "NFKC", "NFKD"]:
        changes.append({"normalizer": {"type": form}})
    changes.append({"normalizer": {"type": "NFC"}, "added": [added("été", id=first, normalized=True)]})
    changes.append({"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "NFC"}]}})
    for flags in [{"lstrip": True}, {"rstrip": True}, {"lstrip": True, "rstrip": True}, {"single_word": True},
                  {"single_word": True, "normalized": True}, {"lstrip": True, "normalized": True}, {"special": True}]:
        changes.append({"added": [added("zq", id=first, **flags), added("zq ", id=first + 1, **flags),
                                  added("été", id=first + 2)]})
    changes.append({"model": {"ignore_merges": True}})
    changes.append({"model": {"ignore_merges": True, "merges": base["model"]["merges"][:100]}})
    # Without the tokens of some bytes, all of which are absent from merges too.
    fewer = {k: v for k, v in base["model"]["vocab"].items()}
    gone = ["b", "7", "Ï"]
    for name in gone:
        fewer[f"hole{name}"] = fewer.pop(name)
    merges = [m for m in base["model"]["merges"] if not any(g in "".join(m) for g in gone)]
    for unknown, fuse in [(None, False), ("<pad>", False), ("<pad>", True)]:
        changes.append({"model": {"vocab": fewer, "merges": merges, "unk_token": unknown, "fuse_unk": fuse}})
    changes.append({"model": {"merges": [" ".join(m) for m in base["model"]["merges"]]}})
    changes.append({"post_processor": {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<bos>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                   {"SpecialToken": {"id": "<eos>", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<bos>": {"id": "<bos>", "ids": [0], "tokens": ["<bos>"]},
                           "<eos>": {"id": "<eos>", "ids": [1], "tokens": ["<eos>"]}}}})
    return changes


VARIANT_TEXTS = [
    "", "a", "  the cat's  hat - a-b.c.. 12 345 ", "another thesis the the  the.", " aaa bab\tabc  ", "été e\u0301te\u0301 ﬁ Å ① 가",
    "The DON'T 'LL x'S ſ'ſ", "one\ntwo\r\n\n three ", "<bos>hi<|user|> <|end|>x<eos>", "漢字とかな 東京、１２ ab7b7Ï bb",
    "xxxb x{,2}b dead BEEF _a_ t\u200dt A\x0bB", "the", " the", "bcac ac", "zq", "  zq  ", "\u3000 zq\u00a0zq zq.zq\tzq",
    "azq zqa _zq zq_ 1zq zq2 ézq zqé 漢zq zq漢 e\u0301zq", "(zq) zq zqzq  zq \n zq", "zq\u200d ²zq Ⅻzq ⓐzq zq½ zq\u0897 ²½ Ⅻⓐ",
]


def make_variants(base):
    variants = []
    for change in variant_changes(base):
        tokenizer = Tokenizer.from_str(json.dumps(patched(base, **copy.deepcopy(change))))
        ids = [tokenizer.encode(text).ids for text in VARIANT_TEXTS]
        decoded = [tokenizer.decode(i, skip_special_tokens=True) for i in ids]
        if "vocab" in change.get("model", {}):  # kept short: which tokens were renamed
            change = copy.deepcopy(change)
            change["renamed"] = {name: f"hole{name}" for name in ["b", "7", "Ï"]}
            del change["model"]["vocab"]
        if "merges" in change.get("model", {}):
            change = copy.deepcopy(change)
            merges = change["model"].pop("merges")
            if isinstance(merges[0], str):
                change["merges_as_strings"] = True
            else:
                change["merges_kept"] = [base["model"]["merges"].index(m) for m in merges]
        variants.append({"change": change, "ids": ids, "decoded": decoded})
    return {"texts": VARIANT_TEXTS, "variants": variants}


def write_json(name, value):
    with open(os.path.join(HERE, name), "w", encoding="utf-8") as out:
        json.dump(value, out, ensure_ascii=True, separators=(",", ":"))
        out.write("\n")


def main():
    os.makedirs(os.path.join(HERE, "small"), exist_ok=True)
    small = make_small()
    base = json.loads(small.to_str())
    write_json("small/tokenizer.json", base)
    write_json("small/tokenizer_config.json", {
        "add_bos_token": True, "add_eos_token": False, "bos_token": "<bos>",
        "eos_token": {"__type": "AddedToken", "content": "<eos>"}, "chat_template": "{{ messages }}"})
    write_json("variants.json", make_variants(base))
    write_json("corpus.json", {"fragments": [f.hex() for f in FRAGMENT_BYTES], "ranges": RANGES, "lines": LINES})
    lines = [corpus_line(i) for i in range(LINES)]
    write_json("trained.json", make_trained(lines))
    write_corpus_hashes("small_corpus.bin", small, lines)
    if len(sys.argv) > 1:
        write_corpus_hashes("deepseek_corpus.bin", Tokenizer.from_file(os.path.join(sys.argv[1], "tokenizer.json")), lines)


if __name__ == "__main__":
    main()
