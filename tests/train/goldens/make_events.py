"""Writes events.bin: records as TensorBoard's own writer makes them. Needs the package `tensorboard`.

usage: python make_events.py > events.bin
"""

import io
import sys

from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.summary.writer.record_writer import RecordWriter

out = io.BytesIO()
records = RecordWriter(out)
records.write(event_pb2.Event(wall_time=1700000000.25, file_version="brain.Event:2").SerializeToString())
start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
records.write(event_pb2.Event(wall_time=1700000000.5, step=1, session_log=start).SerializeToString())
summary = summary_pb2.Summary()
for tag, value in [("train/loss", 2.5), ("train/learning_rate", 0.0), ("max_vio/layer 1", -1e-3)]:
    summary.value.add(tag=tag, simple_value=value)
records.write(event_pb2.Event(wall_time=1700000001.75, step=300, summary=summary).SerializeToString())
sys.stdout.buffer.write(out.getvalue())
