#!/usr/bin/env python3
"""Figures of a file of samples that `fathom eval` wrote, worked out apart from it: pass@k by going through all choices
of k samples, maj@k with Python's Counter, Wilson's interval by the roots of its quadratic. Answers of tasks whose answer
is a number are extracted and compared anew from their texts.

    python3 score_samples.py SAMPLES.jsonl                  prints the figures, and how many rewards differ
    python3 score_samples.py --goldens                      writes samples.jsonl and samples_expected.json here
"""
import itertools
import json
import math
import random
import sys
from collections import Counter, defaultdict
from pathlib import Path

from make_answer_goldens import number_of, numbers, same

FOLDER = Path(__file__).parent
NUMBER_TASKS = ("arithmetic", "words", "gsm8k")


def reward(sample):
    found = number_of(sample["text"])
    right = found is not None and same(numbers(sample["reference"])[-1], found)
    return float(right), "" if found is None else str(found[0]) + ("%" if found[1] else "")


def wilson(right, n):
    z = 1.959963984540054
    # (p - x)^2 = z^2 x (1 - x) / n, for x
    a, b, c = 1 + z * z / n, -(2 * right / n + z * z / n), (right / n) ** 2
    root = math.sqrt(max(0, b * b - 4 * a * c))
    return [(-b - root) / (2 * a), (-b + root) / (2 * a)]


def majority(samples):
    votes = Counter(s["extracted"] for s in samples if s["extracted"])
    if not votes:
        return 0.0
    most = max(votes.values())
    return next(float(s["accuracy"] >= 1) for s in samples if votes[s["extracted"]] == most and s["extracted"])


def figures(samples):
    tasks = {}
    for task in dict.fromkeys(s["task"] for s in samples):
        mine, result = [s for s in samples if s["task"] == task], {}
        greedy = [s for s in mine if s["sample"] < 0]
        if greedy:
            right = sum(s["accuracy"] >= 1 for s in greedy)
            result["greedy"] = {"pass@1": right / len(greedy), "interval": wilson(right, len(greedy)),
                                "tokens": sum(s["tokens"] for s in greedy) / len(greedy)}
        problems = defaultdict(list)
        for s in sorted((s for s in mine if s["sample"] >= 0), key=lambda s: s["sample"]):
            problems[s["index"]].append(s)
        if problems:
            n = min(map(len, problems.values()))
            problems = [p[:n] for p in problems.values()]
            sampled = {"tokens": sum(s["tokens"] for p in problems for s in p) / (n * len(problems))}
            for k in sorted({2**i for i in range(12) if 2**i < n} | {n}):
                choices = [[any(s["accuracy"] >= 1 for s in c) for c in itertools.combinations(p, k)] for p in problems]
                sampled[f"pass@{k}"] = sum(sum(c) / len(c) for c in choices) / len(choices)
                groups = [[majority(p[i * k:(i + 1) * k]) for i in range(n // k)] for p in problems]
                sampled[f"maj@{k}"] = sum(sum(g) / len(g) for g in groups) / len(groups)
            result["sampled"] = sampled
        tasks[task] = result
    return tasks


def read(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines()[1:]]


def make_goldens():
    rng = random.Random(3)
    lines = [json.dumps({"fathom_eval": 1, "model": "made up", "fingerprint": "0", "split": "test", "seed": 0,
                         "format": "plain", "prefix": "", "temperature": 1.0, "top_p": 1.0, "max_tokens": 64,
                         "think_tokens": 0})]
    for task, count in (("gsm8k:path=x", 6), ("words", 5)):
        for index in range(12):
            reference, skill = str(rng.randrange(100)), rng.random()
            for sample in range(-1, count + (index == 3)):
                value = reference if rng.random() < skill else str(rng.randrange(4))
                text = rng.choice(["The answer is {}.", "<think>7</think>{}", "\\boxed{{{}.0}}", "<think>{}", "No idea."])
                one = {"task": task, "index": index, "sample": sample, "id": str(index), "question": "?",
                       "reference": reference, "text": text.format(value), "tokens": rng.randrange(1, 65),
                       "reason": "end_of_text", "thinking_cut": False}
                one["accuracy"], one["extracted"] = reward(one)
                lines.append(json.dumps(one | {"format": 0.0, "language": 1.0, "length": 0.0}))
    (FOLDER / "samples.jsonl").write_text("\n".join(lines) + "\n")
    expected = json.dumps(figures(read(FOLDER / "samples.jsonl")), indent=1)
    (FOLDER / "samples_expected.json").write_text(expected + "\n")


if sys.argv[1:] == ["--goldens"]:
    make_goldens()
else:
    samples = read(sys.argv[1])
    checked = [s for s in samples if s["task"].split(":")[0] in NUMBER_TASKS]
    differ = sum(reward(s) != (s["accuracy"], s["extracted"]) for s in checked)
    print(json.dumps({"rewards_checked": len(checked), "rewards_that_differ": differ, "tasks": figures(samples)}, indent=1))
