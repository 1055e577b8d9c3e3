"""Speed of Fathom beside llama.cpp and ik_llama.cpp on one GGUF file, with as many threads each, in turns: machines are noisy, and
what runs at the same time slows all alike. Prints each command, each figure, and ratios of the means.

usage: python peers.py FATHOM MODEL.gguf LLAMA_CPP [IK_LLAMA_CPP] [--threads N] [--prompt 256 2048] [--generate 32] [--depth 0]
           [--batch 8] [--rounds 2]

LLAMA_CPP and IK_LLAMA_CPP are folders with llama-bench, the former with llama-batched-bench, too. Prefill is tokens of a prompt a
second, decode tokens of one answer, batch those of all answers together. Fathom's are means of as many passes as the peers make.
"""

import argparse
import collections
import json
import os
import pathlib
import re
import shlex
import statistics
import subprocess


def run(command: list[str]) -> str:
    print("$ " + shlex.join(command), flush=True)
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout


class Figures:
    """Tokens a second by use and program."""

    def __init__(self) -> None:
        self.all: dict[str, dict[str, list[float]]] = collections.defaultdict(lambda: collections.defaultdict(list))

    def add(self, use: str, program: str, value: float) -> None:
        self.all[use][program].append(value)
        print(f"  {use:<28} {program:<14} {value:8.2f} tokens/s", flush=True)

    def print_ratios(self) -> None:
        for use, programs in self.all.items():
            means = {program: statistics.mean(values) for program, values in programs.items()}
            text = "  ".join(f"{program} {mean:.2f}" for program, mean in means.items())
            ratios = "  ".join(f"{means['fathom'] / mean:.2f}x {program}" for program, mean in means.items() if program != "fathom")
            print(f"{use:<28} {text}   {ratios}")


def behind(depth: int) -> str:
    return f" behind {depth}" if depth else ""


def measure_fathom(args: argparse.Namespace, figures: Figures) -> None:
    command = [args.fathom, "bench", args.model, "--json", "--threads", str(args.threads), "--rounds", str(args.generate)]
    decode = command + ["--prompt", "2", "--depth", ",".join(map(str, args.depth)), "--batch", ",".join(map(str, [1] + args.batch))]
    for result in json.loads(run(decode))["measurements"]:
        if result["tokens"] == 1:
            use = "decode" if result["sequences"] == 1 else f"batch {result['sequences']}"
            figures.add(use + behind(result["depth"]), "fathom", result["mean_tokens_per_second"])
    if args.prompt:
        prefill = command[:-1] + ["1", "--prompt", ",".join(map(str, args.prompt)), "--depth", "0", "--batch", "1"]
        for result in json.loads(run(prefill))["measurements"]:
            if result["tokens"] > 1:
                figures.add(f"prefill {result['tokens']}", "fathom", result["mean_tokens_per_second"])


def measure_peer(args: argparse.Namespace, figures: Figures, name: str, folder: pathlib.Path, flags: list[str]) -> None:
    own = [str(folder / "llama-bench"), "-m", args.model, "-t", str(args.threads), "-fa", "1", "-r", "1", "-o", "json"] + flags
    if args.prompt:
        for result in json.loads(run(own + ["-n", "0", "-p", ",".join(map(str, args.prompt))])):
            figures.add(f"prefill {result['n_prompt']}", name, result["avg_ts"])
    for depth in args.depth:
        if name == "ik_llama.cpp":
            deep = ["-p", "0", "-n", "0", "-gp", f"{depth},{args.generate}"] if depth else ["-p", "0", "-n", str(args.generate)]
        else:
            deep = ["-p", "0", "-n", str(args.generate), "-d", str(depth)]
        figures.add("decode" + behind(depth), name, json.loads(run(own + deep))[-1]["avg_ts"])
    batched = folder / "llama-batched-bench"
    # ik_llama.cpp's gives all answers the same token, which touch the experts of one: no measure of a batch.
    for batch in args.batch if name == "llama.cpp" else []:
        command = [str(batched), "-m", args.model, "-t", str(args.threads), "-c", str(batch * (64 + args.generate)), "-npp", "16"]
        command += ["-ntg", str(args.generate), "-npl", str(batch), "-fa", "on"]
        row = re.search(r"^\|[ 0-9.|]+\|\s*$", run(command), re.M)
        if row is None:
            raise SystemExit(f"{batched}: prints no table that this script knows")
        figures.add(f"batch {batch}", name, float(row.group(0).split("|")[8]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fathom")
    parser.add_argument("model")
    parser.add_argument("llama_cpp", type=pathlib.Path)
    parser.add_argument("ik_llama_cpp", type=pathlib.Path, nargs="?")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--prompt", type=int, nargs="*", default=[256, 2048])
    parser.add_argument("--generate", type=int, default=32)
    parser.add_argument("--depth", type=int, nargs="*", default=[0])
    parser.add_argument("--batch", type=int, nargs="*", default=[8])
    parser.add_argument("--rounds", type=int, default=2)
    args = parser.parse_args()
    figures = Figures()
    for _ in range(args.rounds):
        measure_fathom(args, figures)
        measure_peer(args, figures, "llama.cpp", args.llama_cpp, [])
        if args.ik_llama_cpp:
            measure_peer(args, figures, "ik_llama.cpp", args.ik_llama_cpp, ["-mla", "3", "-fmoe", "1"])
    figures.print_ratios()


if __name__ == "__main__":
    main()
