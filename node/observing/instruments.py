"""What a node is measured with, as its options ask: metrics, traces, both, or (as a rule) nothing.

Their packages are optional, so they are imported here and only on request.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from node.network.transport import Address
from node.observing.observation import ObservedOperations, ObservedTrace, Observer, observed_parts
from node.observing.trace import Trace
from node.options import Options
from node.parts import Parts
from node.serving.service import Operations
from node.shell import Shell

if TYPE_CHECKING:
    from node.observing.metrics import Metrics
    from node.observing.telemetry import Telemetry


class MissingPackageError(Exception):
    """An option needs a package that is not there; says which, and what to do."""


class Instruments:
    """One node's. With nothing asked for, everything is handed back as it came."""

    def __init__(self, options: Options) -> None:
        """Raises :class:`MissingPackageError`."""
        self._metrics = _metrics() if options.metrics is not None else None
        self._telemetry = _telemetry(options.name, options.otlp) if options.otlp is not None else None
        self._address = Address(options.nodes[options.name].clients.host, options.metrics or 0)
        self._observers: list[Observer] = [one for one in (self._metrics, self._telemetry) if one is not None]
        self._end_serving: Callable[[], None] | None = None

    def parts(self, parts: Parts) -> Parts:
        """What the node is built from."""
        return observed_parts(parts, self._observers) if self._observers else parts

    def trace(self, path: Path, node: str) -> Trace:
        """The node's trace."""
        return ObservedTrace(path, node, self._observers) if self._observers else Trace(path, node)

    def operations(self, shell: Shell) -> Operations:
        """What the service hands operations to."""
        return ObservedOperations(shell, self._observers) if self._observers else shell

    def lag(self, tell: Callable[[float], None]) -> Callable[[float], None]:
        """Who is told of the event loop's lag."""
        metrics = self._metrics
        if metrics is None:
            return tell

        def tell_both(max_ms: float) -> None:
            tell(max_ms)
            metrics.lag(max_ms)

        return tell_both

    def start(self, shell: Shell) -> None:
        """Serves the page of the metrics, if there are any. Raises OSError if the address can't be used."""
        if self._metrics is not None:
            self._end_serving = self._metrics.serve(self._address, shell.facts)

    def stop(self) -> None:
        """Ends it, and exports what is left of the traces: may take seconds, so not in the loop."""
        if self._end_serving is not None:
            self._end_serving()
        if self._telemetry is not None:
            self._telemetry.close()


def _metrics() -> Metrics:
    try:
        from node.observing.metrics import Metrics
    except ImportError as error:
        raise _missing("--metrics", "prometheus-client", error) from None
    return Metrics()


def _telemetry(node: str, target: str) -> Telemetry:
    try:
        from node.observing.telemetry import Telemetry, exporter_to

        exporter = exporter_to(target)
    except ImportError as error:
        packages = "opentelemetry-sdk opentelemetry-exporter-otlp-proto-http"
        raise _missing(f"--otlp {target}", packages, error) from None
    return Telemetry(node, exporter)


def _missing(option: str, packages: str, error: ImportError) -> MissingPackageError:
    return MissingPackageError(
        f"{option} needs {packages} ({error}). Install: python -m pip install {packages}; or start without the option"
    )
