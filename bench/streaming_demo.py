"""A model of at least twice a memory limit, its experts read from disk by Fathom, against the same model mapped and left
to the system's page cache, under the same limit in the same run.

Makes a model of Moonlight's layers with random weights (tools/make_synthetic_checkpoint.py), some 3.7 GB in Q4_0, and
packs its experts. Then decodes with it in a memory control group, each way in turn, starting with nothing cached. Random
routers choose nearly all experts alike, which is the worst case for any cache; routers of trained models do not, so the
same is done with biases that make some experts likelier (--skew), and the share of the likelier half is printed.

Needs root, for the control group (version 1 or 2), and Python with numpy and gguf.

usage: python3 bench/streaming_demo.py [--fathom build/release/fathom] [--folder streaming-demo] [--layers 12]
           [--limit-mb 1700] [--tokens 48] [--rounds 2] [--skew 0 0.2]
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
from gguf import GGUFReader

ROOT = pathlib.Path(__file__).resolve().parent.parent
CONFIG = ROOT / "configs/models/moonlight-16b-a3b.json"
VOCABULARY = ROOT / "tests/model/goldens/gguf/tiny_f32.gguf"


class ControlGroup:
    """A memory control group of our own, below the one that this process is in."""

    def __init__(self, limit: int) -> None:
        lines = [line.strip().split(":", 2) for line in open("/proc/self/cgroup")]
        first = next((path for _, kinds, path in lines if kinds == "memory"), None)
        root = pathlib.Path("/sys/fs/cgroup/memory" if first is not None else "/sys/fs/cgroup")
        path = first if first is not None else next(path for _, kinds, path in lines if kinds == "")
        at = root / path.lstrip("/")
        self.folder = (at if at.is_dir() else root) / f"fathom-streaming-{os.getpid()}"
        self.folder.mkdir()
        files = {"memory.limit_in_bytes": limit} if first is not None else {"memory.max": limit, "memory.swap.max": 0}
        for name, value in files.items():
            (self.folder / name).write_text(str(value))

    def enter(self) -> None:
        (self.folder / "cgroup.procs").write_text(str(os.getpid()))

    def remove(self) -> None:
        self.folder.rmdir()


def forget_pages(path: pathlib.Path) -> None:
    """Drops what the page cache holds of a file."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def set_skew(model: pathlib.Path, skew: float) -> None:
    """Sets the routers' biases: normal, of this deviation."""
    rng = np.random.default_rng(7)
    reader = GGUFReader(model, "r+")
    for tensor in reader.tensors:
        if tensor.name.endswith("exp_probs_b.bias"):
            tensor.data[...] = (skew * rng.standard_normal(tensor.data.shape)).astype(np.float32)
    reader.data.flush()


def decode(args: argparse.Namespace, model: pathlib.Path, memory: list[str]) -> dict:
    for path in (model, model.with_suffix(".experts")):
        forget_pages(path)
    group = ControlGroup(args.limit_mb * 10**6)
    try:
        command = [args.fathom, "run", model, "It was the best of times", "-n", str(args.tokens), "--ignore-eos", "--json",
                   "--seed", "1", "--temperature", "1", "--top-p", "1", "--speculate", "off", *memory]
        result = subprocess.run([str(word) for word in command], preexec_fn=group.enter, capture_output=True, text=True)
    finally:
        group.remove()
    if result.returncode != 0:
        sys.exit(f"{' '.join(str(word) for word in command)}: {result.stderr}")
    return json.loads(result.stdout)


def build(args: argparse.Namespace, model: pathlib.Path) -> None:
    if model.exists():
        return
    whole = args.folder / "whole.gguf"
    small = dict(json.load(open(CONFIG)), vocab_size=8192)
    (args.folder / "config.json").write_text(json.dumps(small))
    subprocess.run([sys.executable, ROOT / "tools/make_synthetic_checkpoint.py", args.folder / "config.json", VOCABULARY,
                    whole, "--layers", str(args.layers)], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([args.fathom, "convert", whole, model, "--expert-pack", "--overwrite"], check=True)
    whole.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fathom", default=ROOT / "build/release/fathom", type=pathlib.Path)
    parser.add_argument("--folder", default=pathlib.Path("streaming-demo"), type=pathlib.Path)
    parser.add_argument("--layers", default=12, type=int)
    parser.add_argument("--limit-mb", default=1700, type=int)
    parser.add_argument("--tokens", default=48, type=int)
    parser.add_argument("--rounds", default=2, type=int)
    parser.add_argument("--skew", default=[0.0, 0.2], type=float, nargs="+")
    args = parser.parse_args()
    args.folder.mkdir(exist_ok=True)
    model = args.folder / "model.gguf"
    build(args, model)
    size = sum(path.stat().st_size for path in (model, model.with_suffix(".experts")))
    print(f"model of {size / 1e9:.2f} GB, limit {args.limit_mb / 1e3:.2f} GB: {size / args.limit_mb / 1e6:.1f} times")
    for skew in args.skew:
        set_skew(model, skew)
        print(f"biases of routers with deviation {skew}:")
        for number in range(args.rounds):
            mapped = decode(args, model, ["--expert-memory", "mapped"])
            streamed = decode(args, model, [])
            if mapped["tokens"] != streamed["tokens"]:
                sys.exit("the answers differ")
            experts = streamed["experts"]
            a, b = mapped["decode_tokens_per_second"], streamed["decode_tokens_per_second"]
            print(f"  round {number + 1}: mapped {a:.2f} tokens/s, streamed {b:.2f} tokens/s ({b / a:.2f} times); "
                  f"{experts['budget_bytes'] / 1e9:.2f} GB for experts, {100 * experts['kept_rate']:.0f} % of uses "
                  f"in memory, {100 * experts['ahead_rate']:.0f} % read ahead ({100 * experts['guess_accuracy']:.0f} % of "
                  f"guesses right), read {experts['bytes_read'] / 1e9:.1f} GB at "
                  f"{experts['read_bytes_per_second'] / 1e9:.2f} GB/s ({experts['reading']})", flush=True)


if __name__ == "__main__":
    main()
