// Sends one span, one log record and one collection of metrics with OpenTelemetry's own SDK and exporters, as npm has
// them. The argument is JSON: the protocol (proto, http, which is JSON, or grpc), endpoints, ids and the time.
import { createTraceState, ROOT_CONTEXT, SeverityNumber, SpanKind, SpanStatusCode, TraceFlags, trace } from "@opentelemetry/api";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { BatchLogRecordProcessor, LoggerProvider } from "@opentelemetry/sdk-logs";
import { MeterProvider, PeriodicExportingMetricReader } from "@opentelemetry/sdk-metrics";
import { BatchSpanProcessor, TracerProvider } from "@opentelemetry/sdk-trace";

const given = JSON.parse(process.argv[2]);
const { OTLPTraceExporter } = await import(`@opentelemetry/exporter-trace-otlp-${given.protocol}`);
const { OTLPLogExporter } = await import(`@opentelemetry/exporter-logs-otlp-${given.protocol}`);
const { OTLPMetricExporter } = await import(`@opentelemetry/exporter-metrics-otlp-${given.protocol}`);
const to = (path) => ({ url: given.protocol === "grpc" ? given.grpc : given.http + path, compression: given.compression });

const attributes = {
  string: 'ünïcödé 🛰 "quoted" \\ \n',
  empty: "",
  yes: true,
  no: false,
  zero: 0,
  least: Number.MIN_SAFE_INTEGER,
  greatest: Number.MAX_SAFE_INTEGER,
  double: 0.1,
  tiny: 5e-324,
  strings: ["a", "", 'b"'],
  numbers: [0, -1, 2.5],
  booleans: [true, false],
  none: [],
};
const structured = {
  ...attributes,
  bytes: new Uint8Array([0, 255, 128]),
  nothing: null,
  map: { a: 1, deep: { er: [{ still: [true, new Uint8Array([1])] }] }, empty: {} },
};
const at = (nanoseconds) => [given.seconds, given.nanoseconds + nanoseconds];
const resource = resourceFromAttributes({ "service.name": given.service, ...attributes }, { schemaUrl: "https://example.com/r" });
const remote = (traceId, spanId) => ({
  traceId,
  spanId,
  traceFlags: TraceFlags.SAMPLED,
  isRemote: true,
  traceState: createTraceState("vendor=value,other=1"),
});
const parent = trace.setSpanContext(ROOT_CONTEXT, remote(given.traceId, given.spanId));

const tracers = new TracerProvider({
  resource,
  spanProcessors: [new BatchSpanProcessor({ exporter: new OTLPTraceExporter(to("/v1/traces")) })],
  spanLimits: { eventCountLimit: 1, linkCountLimit: 1, attributeCountLimit: Object.keys(attributes).length },
});
const span = tracers.getTracer("js.scope", "1.2.3", { schemaUrl: "https://example.com/s" }).startSpan(
  "GET /orders/{id}",
  {
    kind: SpanKind.CONSUMER,
    startTime: at(0),
    attributes,
    links: [{ context: remote("f".repeat(32), "e".repeat(16)), attributes }],
  },
  parent,
);
span.setAttribute("one too many", 1);
span.addEvent("dropped", {}, at(1));
span.addEvent("kept", attributes, at(2));
span.setStatus({ code: SpanStatusCode.ERROR, message: "no such order" });
span.end(at(123_456));
await tracers.shutdown();

const loggers = new LoggerProvider({
  resource,
  processors: [new BatchLogRecordProcessor({ exporter: new OTLPLogExporter(to("/v1/logs")) })],
});
loggers.getLogger("js.scope", "1.2.3", { schemaUrl: "https://example.com/s" }).emit({
  timestamp: at(0),
  observedTimestamp: at(5),
  severityNumber: SeverityNumber.ERROR2,
  severityText: "Error",
  body: structured,
  attributes: structured,
  eventName: "order.failed",
  context: parent,
});
await loggers.shutdown();

const meters = new MeterProvider({
  resource,
  readers: [new PeriodicExportingMetricReader({ exporter: new OTLPMetricExporter(to("/v1/metrics")) })],
});
const meter = meters.getMeter("js.scope", "1.2.3");
meter.createCounter("js.orders", { description: "Orders placed", unit: "{order}" }).add(3, { status: "ok" });
meter.createGauge("js.temperature", { unit: "Cel" }).record(-1.5, { room: "lab" });
const histogram = meter.createHistogram("js.duration", { unit: "s", advice: { explicitBucketBoundaries: [0.1, 1] } });
for (const seconds of [0.05, 0.5, 5]) histogram.record(seconds);
await meters.shutdown();

console.log(JSON.stringify({ spanId: span.spanContext().spanId }));
