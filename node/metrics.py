"""The node's figures for Prometheus, in a registry of their own. No label holds anything of a person."""

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

_LATENCY_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """Counters that services count with, and gauges that are read when somebody looks."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "phr_http_requests", "Requests answered", ["method", "route", "status"], registry=self.registry
        )
        self.latency = Histogram(
            "phr_http_request_seconds",
            "Seconds from a request to its answer",
            ["route"],
            buckets=_LATENCY_SECONDS,
            registry=self.registry,
        )
        self.refusals = Counter(
            "phr_refusals", "Requests refused, by the code of the problem", ["code"], registry=self.registry
        )
        self.deposits = Counter(
            "phr_deposits", "Deposits of other members taken into custody", registry=self.registry
        )
        self.releases = Counter(
            "phr_releases",
            "Shares that other members asked of this custodian",
            ["outcome"],
            registry=self.registry,
        )

    def watch(self, name: str, description: str, read: Callable[[], float]) -> None:
        """Adds a gauge whose value is asked of ``read`` at each look."""
        Gauge(name, description, registry=self.registry).set_function(read)

    def watch_each(
        self, name: str, description: str, label: str, read: Callable[[], Mapping[str, float]]
    ) -> None:
        """Adds a gauge for each label that ``read`` tells at a look."""
        self.registry.register(_Watched(name, description, label, read))

    def text(self) -> bytes:
        """All figures in Prometheus' text format."""
        return generate_latest(self.registry)


class _Watched(Collector):
    """A family of gauges whose labels come and go."""

    def __init__(
        self, name: str, description: str, label: str, read: Callable[[], Mapping[str, float]]
    ) -> None:
        self._name = name
        self._description = description
        self._label = label
        self._read = read

    def describe(self) -> Iterable[Metric]:
        """What it is called, without reading it."""
        return [GaugeMetricFamily(self._name, self._description, labels=[self._label])]

    def collect(self) -> Iterable[Metric]:
        """What it is now."""
        family = GaugeMetricFamily(self._name, self._description, labels=[self._label])
        for label, value in self._read().items():
            family.add_metric([label], value)
        return [family]
