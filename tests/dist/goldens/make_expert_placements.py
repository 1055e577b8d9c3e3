"""Writes expert_placements.json: where DeepSeek's EPLB puts the experts of made-up load tables.

Needs torch (2.15) and github.com/deepseek-ai/EPLB:

    PYTHONPATH=EPLB python make_expert_placements.py

Loads are whole numbers below 2^24, which f32 and f64 hold alike, and no two experts of a table have the same, so nothing
hangs on how ties are broken.
"""

import json
import pathlib

import eplb
import torch

# experts, slots, groups, nodes, devices; the second is the example of EPLB's README
SHAPES = [(8, 8, 1, 1, 4), (12, 16, 4, 2, 8), (16, 24, 4, 2, 4), (16, 24, 2, 4, 4), (16, 16, 8, 4, 16),
          (64, 96, 8, 4, 32), (256, 288, 8, 4, 32), (256, 320, 8, 40, 320), (160, 192, 8, 2, 16)]

README = [[90, 132, 40, 61, 104, 165, 39, 4, 73, 56, 183, 86],
          [20, 107, 104, 64, 19, 197, 187, 157, 172, 86, 16, 27]]


def loads(experts, skew, seed):
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(experts, generator=generator)
    uniform = torch.rand(experts, generator=generator)
    values = [int(v) for v in 8e6 * (1 + uniform) / (1 + order) ** skew]
    assert len(set(values)) == experts
    return values


def main():
    cases = []
    for experts, slots, groups, nodes, devices in SHAPES:
        rows = README if experts == 12 else [loads(experts, skew, 7 * experts + i)
                                             for i, skew in enumerate((0.0, 0.3, 1.0))]
        slot_table, _, copies = eplb.rebalance_experts(torch.tensor(rows), slots, groups, nodes, devices)
        for load, slot, count in zip(rows, slot_table.tolist(), copies.tolist()):
            cases.append({"shape": [slots, groups, nodes, devices], "load": load, "expert_of_slot": slot,
                          "copies": count})
    path = pathlib.Path(__file__).with_name("expert_placements.json")
    path.write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")


if __name__ == "__main__":
    main()
