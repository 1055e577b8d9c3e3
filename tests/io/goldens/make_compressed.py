"""Makes tests/io/goldens/compressed/: one text, compressed in several ways by gzip (Python's) and by the zstd program.

usage: make_compressed.py   (needs `zstd` on the path)
"""
import gzip
import pathlib
import random
import struct
import subprocess

FOLDER = pathlib.Path(__file__).parent / "compressed"


def zstd(data, *options):
    return subprocess.run(["zstd", "-q", "-c", *options], input=data, stdout=subprocess.PIPE, check=True).stdout


def main():
    words = ["the", "cat", "sat", "Straße", "汉字", "\n", "  ", "on", "a", "mat", "🙂", "zebra"]
    random.seed(1)
    text = " ".join(random.choice(words) + str(random.randrange(50)) for _ in range(1500)).encode()
    half = len(text) // 2
    skippable = struct.pack("<II", 0x184D2A50, 5) + b"hello"
    files = {
        "text.txt": text,
        "one.gz": gzip.compress(text, mtime=0),
        "members.gz": gzip.compress(text[:half], mtime=0) + b"\0" * 3 + gzip.compress(text[half:], 1, mtime=0) + b"\0" * 512,
        "one.zst": zstd(text),
        "frames.zst": zstd(text[:half], "-19", "--no-check") + skippable + zstd(text[half:], "-1"),
    }
    FOLDER.mkdir(exist_ok=True)
    for name, content in files.items():
        (FOLDER / name).write_bytes(content)


main()
