"""The metrics of a server, for Prometheus."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from zhuyi.serve.service import Service

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
"""Bounds of the buckets of latencies."""


class Metrics:
    """The metrics of one server: requests by API and status, latencies, the queue, models, and the process."""

    def __init__(self, service: Service) -> None:
        registry = self._registry = CollectorRegistry()
        counts = "Requests, by the status of their answer"
        self._requests = Counter("zhuyi_requests", counts, ["api", "status"], registry=registry)
        counts = "Requests whose client disconnected before the answer"
        self._gone = Counter("zhuyi_requests_gone", counts, ["api"], registry=registry)
        counts = "Seconds from a request to its answer"
        self._seconds = Histogram("zhuyi_request_seconds", counts, ["api"], buckets=SECONDS, registry=registry)
        registry.register(_OfService(service))
        ProcessCollector(registry=registry)

    def answered(self, api: str, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        self._requests.labels(api, status).inc()
        self._seconds.labels(api).observe(seconds)

    def gone(self, api: str) -> None:
        """Count a request whose client disconnected before its answer."""
        self._gone.labels(api).inc()

    def text(self) -> bytes:
        """All metrics in the text format of Prometheus."""
        return generate_latest(self._registry)


class _OfService(Collector):
    """Metrics that are read from the service when they are requested."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterable[Metric]:
        queue = self._service.queue
        yield GaugeMetricFamily("zhuyi_queue_characters", "Characters that are being translated", queue.taken)
        yield GaugeMetricFamily("zhuyi_queue_size_characters", "Size of the queue in characters", queue.size)
        memory = GaugeMetricFamily(
            "zhuyi_model_weight_bytes", "Memory of a model; 0 if it is not loaded", labels=["model"]
        )
        for model in self._service.models:
            memory.add_metric([model.name], model.resident_bytes)
        yield memory
