"""Writes otlp-metrics.binpb: the descriptors of OTLP's request for metrics, as OpenTelemetry publishes them for Python.

pip install opentelemetry-proto==1.45.2 && python3 test/vectors/make-otlp.py
"""

from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2

found: dict[str, FileDescriptorProto] = {}


def add(file) -> None:
    """A file after all that it imports."""
    if file.name in found:
        return
    for needed in file.dependencies:
        add(needed)
    found[file.name] = FileDescriptorProto()
    file.CopyToProto(found[file.name])


add(metrics_service_pb2.DESCRIPTOR)
out = Path(__file__).with_name("otlp-metrics.binpb")
out.write_bytes(FileDescriptorSet(file=found.values()).SerializeToString(deterministic=True))
