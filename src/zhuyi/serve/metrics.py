"""What a server counts, for Prometheus."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from zhuyi.serve.service import Service

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
"""Bounds of the histogram of latencies."""


class Metrics:
    """Those of one server: requests by their API and status, latencies, models, and the memory of the process."""

    def __init__(self, service: Service) -> None:
        registry = self._registry = CollectorRegistry()
        counts = "Requests, by the status of their answer"
        self._requests = Counter("zhuyi_requests", counts, ["api", "status"], registry=registry)
        counts = "Requests whose client went away before the answer"
        self._gone = Counter("zhuyi_requests_gone", counts, ["api"], registry=registry)
        counts = "Seconds from a request to its answer"
        self._seconds = Histogram("zhuyi_request_seconds", counts, ["api"], buckets=SECONDS, registry=registry)
        registry.register(_OfService(service))
        ProcessCollector(registry=registry)

    def answered(self, api: str, status: int, seconds: float) -> None:
        """A request has its answer."""
        self._requests.labels(api, status).inc()
        self._seconds.labels(api).observe(seconds)

    def gone(self, api: str) -> None:
        """A client did not wait for its answer."""
        self._gone.labels(api).inc()

    def text(self) -> bytes:
        """All of them, as Prometheus reads them."""
        return generate_latest(self._registry)


class _OfService(Collector):
    """What is read from the service at the moment when it is asked for."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterable[Metric]:
        queue = self._service.queue
        yield GaugeMetricFamily("zhuyi_queue_characters", "Characters that are being translated", queue.taken)
        yield GaugeMetricFamily("zhuyi_queue_size_characters", "Characters that have a place", queue.size)
        memory = GaugeMetricFamily("zhuyi_model_weight_bytes", "Of a model in memory; 0: released", labels=["model"])
        for model in self._service.models:
            memory.add_metric([model.name], model.resident_bytes)
        yield memory
