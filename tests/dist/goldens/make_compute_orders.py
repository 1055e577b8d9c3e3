"""Writes compute_orders.json: in which order public implementations compute, rank by rank.

1F1B, interleaved 1F1B and ZB1P are asked of torch.distributed.pipelining, DualPipe and DualPipeV of DeepSeek's own
package. Needs torch (2.15) and github.com/deepseek-ai/DualPipe:

    PYTHONPATH=DualPipe python make_compute_orders.py

Nothing is computed: DualPipe's `step` runs on every rank with its computing and communicating methods replaced by a
recorder. A rank's order is one text: F0.3 is the forward of slot 0's micro-batch 3, B a whole backward, b an
input-only one, w a weight gradient, F0.3+B1.2 an overlapped pair. A slot is one of a rank's pieces of the model; in
DualPipe each direction counts its own micro-batches.
"""

import json
import pathlib

import dualpipe
import torch
from torch.distributed.pipelining import schedules

LETTERS = {"FORWARD": "F", "FULL_BACKWARD": "B", "BACKWARD_INPUT": "b", "BACKWARD_WEIGHT": "w"}


def torch_text(actions, ranks):
    return " ".join(
        f"{LETTERS[a.computation_type.name]}{a.stage_index // ranks}.{a.microbatch_index}" for a in actions if a)


def order_1f1b(ranks, _, micro_batches):
    # Not of `Schedule1F1B._get_pipeline_order`, which numbers the last rank's forwards from 1 (it is for show only).
    def order(rank):
        ahead = min(ranks - 1 - rank, micro_batches)
        return schedules._get_1f1b_rank_ops(
            1, ranks, ahead, micro_batches - ahead, ahead, rank, lambda _: rank, lambda _: rank)

    return [torch_text(order(rank), ranks) for rank in range(ranks)]


def order_of_rounds(kind, ranks, slots, micro_batches):
    schedule = object.__new__(kind)
    schedule.pp_group_size = ranks
    schedule.n_local_stages = slots
    schedule._n_microbatches = micro_batches
    schedule.microbatches_per_round = ranks
    return [torch_text(schedule._calculate_single_rank_operations(rank), ranks) for rank in range(ranks)]


def order_interleaved(ranks, slots, micro_batches):
    return order_of_rounds(schedules.ScheduleInterleaved1F1B, ranks, slots, micro_batches)


def order_zb1p(ranks, slots, micro_batches):
    return order_of_rounds(schedules.ScheduleInterleavedZeroBubble, ranks, slots, micro_batches)


class Group:
    def __init__(self, rank, size):
        self.rank = lambda: rank
        self.size = lambda: size


class Module(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))


def recorder(base):
    class Recorder(base):
        def start(self):
            self.order, self.waiting, self.counts = [], [], {}
            return self

        def next(self, letter, phase):
            slot = phase ^ int(getattr(self, "is_in_second_half", False))
            way = (letter == "F", slot)
            count = self.counts.get(way, 0)
            self.counts[way] = count + 1
            return f"{letter}{slot}.{count}"

        def _forward_compute_chunk(self, phase):
            self.order.append(self.next("F", phase))

        def _backward_compute_chunk(self, phase, enable_zb=False):
            self.order.append(self.next("b" if enable_zb else "B", phase))
            if enable_zb:
                self.waiting.append(self.order[-1])

        def _forward_backward_compute_chunk(self, phase0, phase1):
            self.order.append(self.next("F", phase0) + "+" + self.next("B", phase1))

        def _weight_chunk(self):
            self.order.append("w" + self.waiting.pop(0)[1:])

        def _nothing(self, *_):
            pass

        _recv_forward = _send_forward = _recv_backward = _send_backward = _nothing
        _commit_and_wait_comm = _nothing

    return Recorder


def order_dualpipe(base, ranks, micro_batches):
    orders = []
    for rank in range(ranks):
        pipe = recorder(base)((Module(), Module()), process_group=Group(rank, ranks)).start()
        data = torch.zeros(micro_batches, 1)
        pipe.step(data, num_chunks=micro_batches, criterion=lambda *_: None, labels=(data,))
        orders.append(" ".join(pipe.order))
    return orders


CASES = [
    ("1f1b", order_1f1b, [(1, 1, 3), (2, 1, 1), (4, 1, 3), (4, 1, 8), (8, 1, 11)]),
    ("interleaved", order_interleaved, [(2, 2, 4), (4, 2, 8), (3, 3, 9), (4, 4, 4)]),
    ("zb1p", order_zb1p, [(1, 1, 3), (2, 1, 3), (4, 1, 8), (8, 1, 12)]),
    ("dualpipe", lambda r, _, m: order_dualpipe(dualpipe.DualPipe, r, m),
     [(2, 2, 4), (4, 2, 8), (4, 2, 14), (6, 2, 12), (8, 2, 20)]),
    ("dualpipev", lambda r, _, m: order_dualpipe(dualpipe.DualPipeV, r, m),
     [(1, 2, 3), (2, 2, 4), (2, 2, 7), (3, 2, 6), (4, 2, 10)]),
]


def main():
    torch.cuda.current_device = lambda: "cpu"
    torch.stack = lambda losses: None  # there are none
    dualpipe.set_p2p_tensor_shapes([(1,)])
    dualpipe.set_p2p_tensor_dtype(torch.float32)
    cases = [
        {"schedule": name, "ranks": ranks, "slots": slots, "micro_batches": count,
         "orders": make(ranks, slots, count)}
        for name, make, sizes in CASES for ranks, slots, count in sizes
    ]
    path = pathlib.Path(__file__).with_name("compute_orders.json")
    path.write_text(json.dumps(cases, indent=0) + "\n")


main()
