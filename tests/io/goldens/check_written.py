"""Checks with the safetensors library that the files of written/, which tests/io/checkpoint_writer_test.cpp compares
with what Fathom writes byte for byte, load with the values that the test wrote. Prints what it checked.

usage: python check_written.py [FOLDER]   (needs torch, safetensors)
"""

import json
import pathlib
import sys

import torch
from safetensors import safe_open

BLOCK = 128


def counted(shape: tuple[int, ...]) -> torch.Tensor:
    """The values of the test: element i is (i mod 251 - 125) / 8."""
    i = torch.arange(torch.Size(shape).numel())
    return ((i % 251 - 125) / 8).to(torch.float32).reshape(shape)


def quantise(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    rows, columns = values.shape
    scales = torch.empty(-(-rows // BLOCK), -(-columns // BLOCK))
    codes = torch.empty_like(values, dtype=torch.float8_e4m3fn)
    for r in range(scales.shape[0]):
        for c in range(scales.shape[1]):
            part = (slice(r * BLOCK, (r + 1) * BLOCK), slice(c * BLOCK, (c + 1) * BLOCK))
            scales[r, c] = values[part].abs().max().clamp(min=1e-4) / 448.0
            codes[part] = (values[part] / scales[r, c]).to(torch.float8_e4m3fn)
    return codes, scales


def expected() -> dict[str, torch.Tensor]:
    codes, scales = quantise(counted((130, 20)))
    return {
        "norm.weight": counted((7,)),
        "embed.weight": counted((5, 3)).to(torch.bfloat16),
        "half.weight": counted((3, 3)).to(torch.float16),
        "up.weight": codes,
        "up.weight_scale_inv": scales,
        "scalar": counted(()),
        "empty": counted((0, 2)),
    }


def main() -> None:
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).parent / "written"
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    want = expected()
    assert index["weight_map"].keys() == want.keys(), index["weight_map"].keys() ^ want.keys()
    total = 0
    for name, tensor in want.items():
        with safe_open(folder / index["weight_map"][name], framework="pt") as file:
            assert file.metadata() == {"format": "pt"}
            got = file.get_tensor(name)
        assert got.dtype == tensor.dtype and got.shape == tensor.shape, (name, got.dtype, got.shape)
        assert torch.equal(got.reshape(-1).view(torch.uint8), tensor.reshape(-1).view(torch.uint8)), name
        total += tensor.numel() * tensor.element_size()
    assert index["metadata"]["total_size"] == total
    for shard in sorted(set(index["weight_map"].values())):
        with safe_open(folder / shard, framework="pt") as file:
            names = {name for name, where in index["weight_map"].items() if where == shard}
            assert set(file.keys()) == names, shard
    print(f"{folder}: {len(want)} tensors in {len(set(index['weight_map'].values()))} shards are as expected")


main()
