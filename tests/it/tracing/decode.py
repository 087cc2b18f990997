"""Reads a message of OTLP in JSON by the types of `opentelemetry-proto`, and prints its spans.

Fails at a name or a type that they do not have. Of OTLP's JSON they know all but one
thing: ids are hexadecimal there, where protobuf's own JSON has base64.
"""

import base64
import json
import sys

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

message = json.load(sys.stdin)
for resource in message["resourceSpans"]:
    for scope in resource["scopeSpans"]:
        for span in scope["spans"]:
            for key in {"traceId", "spanId", "parentSpanId"} & span.keys():
                span[key] = base64.b64encode(bytes.fromhex(span[key])).decode()

request = json_format.ParseDict(message, ExportTraceServiceRequest(), ignore_unknown_fields=False)
for resource in request.resource_spans:
    for scope in resource.scope_spans:
        for span in scope.spans:
            assert 0 < span.start_time_unix_nano <= span.end_time_unix_nano
            assert span.attributes
            print(span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex(), span.kind, span.name)
