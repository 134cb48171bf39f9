"""`kubernetes_sd_configs`: targets that a Kubernetes cluster knows.

https://prometheus.io/docs/prometheus/latest/configuration/configuration/#kubernetes_sd_config
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from watchkeeper_server.receive.scrape.discovery.groups import Publish, Sleep, TargetGroup
from watchkeeper_server.receive.scrape.discovery.kubernetes_cluster import Cluster, cluster_of, own_namespace
from watchkeeper_server.receive.scrape.discovery.kubernetes_objects import NOTHING_MORE, ROLES, Attach, Objects, Stores
from watchkeeper_server.receive.scrape.discovery.kubernetes_watch import Resource, watch
from watchkeeper_server.receive.scrape.http_client import FetchError, HttpClient, token_source
from watchkeeper_server.receive.scrape.http_config import HttpConfig
from watchkeeper_server.receive.scrape.yaml_reader import INLINE, NO_FILE, ConfigError, FilePath
from watchkeeper_server.telemetry import logger

Role = Literal["node", "pod", "service", "endpoints", "endpointslice", "ingress"]
_SELECTABLE: dict[str, tuple[str, ...]] = {
    "pod": ("pod", "node"),
    "service": ("service",),
    "endpointslice": ("pod", "service", "endpointslice"),
    "endpoints": ("pod", "service", "endpoints"),
    "node": ("node",),
    "ingress": ("ingress",),
}
# resource → API and whether its objects belong to namespaces
_RESOURCES = {
    "node": ("/api/v1", "nodes", False),
    "namespace": ("/api/v1", "namespaces", False),
    "pod": ("/api/v1", "pods", True),
    "service": ("/api/v1", "services", True),
    "endpoints": ("/api/v1", "endpoints", True),
    "endpointslice": ("/apis/discovery.k8s.io/v1", "endpointslices", True),
    "ingress": ("/apis/networking.k8s.io/v1", "ingresses", True),
    "replicaset": ("/apis/apps/v1", "replicasets", True),
    "job": ("/apis/batch/v1", "jobs", True),
}
_NEEDED = {"endpoints": ("endpoints", "service", "pod"), "endpointslice": ("endpointslice", "service", "pod")}
# Clusters change in bursts: what changed is published together, this long after the first of it.
_GATHER_SECONDS = 1.0
_RETRY_SECONDS = 5.0


@dataclass(frozen=True)
class Namespaces:
    """Which namespaces to look into; none named means all."""

    own_namespace: bool = False
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Selector:
    """Which objects of a role the cluster is asked for."""

    role: Role
    label: str = ""
    field: str = ""


@dataclass(frozen=True)
class KubernetesDiscovery:
    """Objects of one role as targets."""

    role: Role
    api_server: str = ""
    kubeconfig_file: FilePath = NO_FILE
    namespaces: Namespaces = Namespaces()
    selectors: tuple[Selector, ...] = ()
    attach_metadata: Attach = NOTHING_MORE
    http: HttpConfig = field(default=HttpConfig(), metadata=INLINE)

    def __post_init__(self) -> None:
        if self.api_server and self.kubeconfig_file:
            raise ValueError("cannot use 'kubeconfig_file' and 'api_server' simultaneously")
        if not self.api_server and self.http != HttpConfig():
            how = "kubeconfig_file" if self.kubeconfig_file else "an in-cluster configuration"
            raise ValueError(
                f"to use custom HTTP client configuration please provide the 'api_server' URL explicitly, not {how}"
            )
        roles = [selector.role for selector in self.selectors]
        for role in roles:
            if roles.count(role) > 1:
                raise ValueError(f"duplicated selector role: {role}")
            if role not in _SELECTABLE[self.role]:
                raise ValueError(f"{self.role} role supports only {', '.join(_SELECTABLE[self.role])} selectors")

    async def discover(self, publish: Publish, sleep: Sleep) -> None:
        """Publish what the cluster has; what it had last counts while it cannot be asked."""
        cluster = await self._cluster(sleep)
        changed = asyncio.Event()
        stores: Stores = {}
        watches = []
        clients: list[HttpClient] = []
        tokens = token_source(cluster.http)
        for kind in self._kinds():
            for resource in self._resources(kind, cluster):
                clients.append(HttpClient(cluster.http, tokens))
                store: Objects = {}
                stores.setdefault(kind, []).append(store)
                watches.append(watch(clients[-1], resource, store, changed.set, sleep))
        try:
            async with asyncio.TaskGroup() as group:
                synced = [asyncio.Event() for _ in watches]
                for run, event in zip(watches, synced, strict=True):
                    group.create_task(run(event))
                await asyncio.gather(*(event.wait() for event in synced))
                await self._publish(publish, stores, changed, sleep)
        finally:
            for client in clients:
                client.close()
            if tokens:
                tokens.close()

    async def _publish(self, publish: Publish, stores: Stores, changed: asyncio.Event, sleep: Sleep) -> None:
        targets: Callable[[Stores, Attach], list[TargetGroup]] = ROLES[self.role]
        while True:
            changed.clear()
            publish(targets(stores, self.attach_metadata))
            await changed.wait()
            await sleep(_GATHER_SECONDS)

    async def _cluster(self, sleep: Sleep) -> Cluster:
        while True:
            try:
                if self.api_server:
                    return Cluster(self.api_server.rstrip("/"), self.http)
                return await asyncio.to_thread(cluster_of, Path(self.kubeconfig_file) if self.kubeconfig_file else None)
            except (OSError, ConfigError, FetchError, ValueError) as error:
                logger.warning("kubernetes_sd_configs: the cluster cannot be found: %s", error)
                await sleep(_RETRY_SECONDS)

    def _kinds(self) -> list[str]:
        """The kinds of object that the role and what is attached to it need."""
        kinds = [*_NEEDED.get(self.role, (self.role,))]
        attach = self.attach_metadata
        pods = "pod" in kinds
        if attach.node and pods:
            kinds.append("node")
        if attach.namespace and self.role != "node":
            kinds.append("namespace")
        if attach.deployment and pods:
            kinds.append("replicaset")
        if attach.cronjob and pods:
            kinds.append("job")
        return kinds

    def _resources(self, kind: str, cluster: Cluster) -> list[Resource]:
        api, plural, namespaced = _RESOURCES[kind]
        selector = next((selector for selector in self.selectors if selector.role == kind), None)
        query = {}
        if selector and selector.label:
            query["labelSelector"] = selector.label
        if selector and selector.field:
            query["fieldSelector"] = selector.field
        names = list(self.namespaces.names)
        if self.namespaces.own_namespace:
            names.append(own_namespace())
        paths = [f"{api}/namespaces/{name}/{plural}" for name in names] if namespaced else []
        return [Resource(cluster.url + path, query) for path in paths or [f"{api}/{plural}"]]
