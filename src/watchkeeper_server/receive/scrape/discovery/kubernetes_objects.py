"""Kubernetes' objects as target groups with the meta labels of their role."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from watchkeeper_server.receive.scrape.discovery.groups import TargetGroup, host_port

# (namespace, name) → object
Objects = dict[tuple[str, str], dict[str, Any]]
# kind → a store for each namespace that is looked into
Stores = dict[str, list[Objects]]

_META = "__meta_kubernetes_"
_UNPLAIN = re.compile(r"[^a-zA-Z0-9_]")
_ADDRESS_TYPES = ("InternalIP", "InternalDNS", "ExternalIP", "ExternalDNS", "LegacyHostIP", "Hostname")


@dataclass(frozen=True)
class Attach:
    """What targets get besides what their own object says."""

    node: bool = False
    namespace: bool = False
    deployment: bool = False
    job: bool = False
    cronjob: bool = False


NOTHING_MORE = Attach()


def nodes(stores: Stores, attach: Attach) -> list[TargetGroup]:
    """The kubelet of each node."""
    del attach
    groups = []
    for node in _all(stores, "node"):
        status = node.get("status") or {}
        addresses: dict[str, str] = {}
        for address in status.get("addresses") or []:
            addresses.setdefault(address["type"], address["address"])
        chosen = next((addresses[kind] for kind in _ADDRESS_TYPES if kind in addresses), None)
        if chosen is None:
            continue
        port = ((status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}).get("Port", 0)
        target = {"__address__": host_port(chosen, port), "instance": node["metadata"]["name"]}
        target |= {f"{_META}node_address_{_plain(kind)}": address for kind, address in addresses.items()}
        labels = _described("node", node)
        labels[f"{_META}node_provider_id"] = (node.get("spec") or {}).get("providerID", "")
        groups.append(TargetGroup([target], labels))
    return groups


def pods(stores: Stores, attach: Attach) -> list[TargetGroup]:
    """Each port of each container of each pod; a container without ports is a target without one."""
    more = _More(stores, attach)
    groups = []
    for pod in _all(stores, "pod"):
        address = pod.get("status", {}).get("podIP")
        if address:
            labels = {**_pod_labels(pod, more), **more.namespace(pod), **more.node(pod["spec"].get("nodeName"))}
            groups.append(TargetGroup(list(_container_targets(pod, address)), labels))
    return groups


def services(stores: Stores, attach: Attach) -> list[TargetGroup]:
    """Each port of each service."""
    more = _More(stores, attach)
    groups = []
    for service in _all(stores, "service"):
        metadata, spec = service["metadata"], service["spec"]
        targets = []
        for port in spec.get("ports") or []:
            target = {
                "__address__": host_port(f"{metadata['name']}.{metadata['namespace']}.svc", port["port"]),
                f"{_META}service_port_name": port.get("name", ""),
                f"{_META}service_port_number": str(port["port"]),
                f"{_META}service_port_protocol": port.get("protocol", "TCP"),
                f"{_META}service_type": spec.get("type", ""),
            }
            if spec.get("type") == "ExternalName":
                target[f"{_META}service_external_name"] = spec.get("externalName", "")
            else:
                target[f"{_META}service_cluster_ip"] = spec.get("clusterIP", "")
            if spec.get("type") == "LoadBalancer":
                target[f"{_META}service_loadbalancer_ip"] = spec.get("loadBalancerIP", "")
            targets.append(target)
        groups.append(TargetGroup(targets, {**_described("service", service), **more.namespace(service)}))
    return groups


def ingresses(stores: Stores, attach: Attach) -> list[TargetGroup]:
    """Each path of each ingress: for probing from outside."""
    more = _More(stores, attach)
    groups = []
    for ingress in _all(stores, "ingress"):
        spec = ingress.get("spec") or {}
        secured = [host for tls in spec.get("tls") or [] for host in tls.get("hosts") or []]
        targets = []
        for rule in spec.get("rules") or []:
            host = rule.get("host", "")
            scheme = "https" if any(_covers(pattern, host) for pattern in secured) else "http"
            paths = [path.get("path") or "/" for path in (rule.get("http") or {}).get("paths") or []]
            targets += [
                {
                    "__address__": host,
                    f"{_META}ingress_scheme": scheme,
                    f"{_META}ingress_host": host,
                    f"{_META}ingress_path": path,
                }
                for path in paths or ["/"]
            ]
        labels = {**_described("ingress", ingress), **more.namespace(ingress)}
        if spec.get("ingressClassName"):
            labels[f"{_META}ingress_class_name"] = spec["ingressClassName"]
        groups.append(TargetGroup(targets, labels))
    return groups


def endpoints(stores: Stores, attach: Attach) -> list[TargetGroup]:
    """Each port of each address of each Endpoints object, and the other ports of the pods behind them."""
    more = _More(stores, attach)
    groups = []
    for item in _all(stores, "endpoints"):
        behind = _Behind(more)
        for subset in item.get("subsets") or []:
            for port in subset.get("ports") or []:
                for key, ready in (("addresses", "true"), ("notReadyAddresses", "false")):
                    for address in subset.get(key) or []:
                        target = _endpoint_target(address, port, ready)
                        behind.add(target, address.get("targetRef"), port.get("port"), address.get("nodeName"))
        metadata = item["metadata"]
        labels = {**_described("endpoints", item), **more.namespace(item)}
        labels |= more.service(metadata.get("namespace", ""), metadata["name"])
        groups.append(TargetGroup(behind.targets(), labels))
    return groups


def endpoint_slices(stores: Stores, attach: Attach) -> list[TargetGroup]:
    """Each port of each address of each EndpointSlice, and the other ports of the pods behind them."""
    more = _More(stores, attach)
    groups = []
    for item in _all(stores, "endpointslice"):
        behind = _Behind(more)
        for endpoint in item.get("endpoints") or []:
            for port in item.get("ports") or []:
                for address in endpoint.get("addresses") or []:
                    target = _slice_target(address, endpoint, port)
                    behind.add(target, endpoint.get("targetRef"), port.get("port"), endpoint.get("nodeName"))
        metadata = item["metadata"]
        labels = {**_described("endpointslice", item), **more.namespace(item)}
        labels[f"{_META}endpointslice_address_type"] = item.get("addressType", "")
        service = (metadata.get("labels") or {}).get("kubernetes.io/service-name")
        if service:
            labels |= more.service(metadata.get("namespace", ""), service)
        groups.append(TargetGroup(behind.targets(), labels))
    return groups


ROLES: Mapping[str, Callable[[Stores, Attach], list[TargetGroup]]] = {
    "node": nodes,
    "pod": pods,
    "service": services,
    "ingress": ingresses,
    "endpoints": endpoints,
    "endpointslice": endpoint_slices,
}


class _More:
    """Labels that other objects give."""

    def __init__(self, stores: Stores, attach: Attach) -> None:
        self._stores = stores
        self.attach = attach

    def node(self, name: str | None) -> dict[str, str]:
        node = self._find("node", "", name) if self.attach.node and name else None
        return (
            {key: value for key, value in _described("node", node).items() if "annotation" not in key} if node else {}
        )

    def namespace(self, item: dict[str, Any]) -> dict[str, str]:
        name = item["metadata"].get("namespace", "")
        namespace = self._find("namespace", "", name) if self.attach.namespace else None
        return _label_pairs("namespace", namespace["metadata"]) if namespace else {}

    def service(self, namespace: str, name: str) -> dict[str, str]:
        service = self._find("service", namespace, name)
        return _described("service", service) if service else {}

    def pod(self, reference: dict[str, Any] | None) -> dict[str, Any] | None:
        if not reference or reference.get("kind") != "Pod":
            return None
        return self._find("pod", reference.get("namespace", ""), reference.get("name", ""))

    def owners(self, pod: dict[str, Any]) -> dict[str, str]:
        """The deployment, job or cron job that a pod is of, by what controls it."""
        controller, namespace = _controller(pod), pod["metadata"].get("namespace", "")
        labels = {}
        if controller and controller.get("kind") == "ReplicaSet" and self.attach.deployment:
            owner = _controller(self._find("replicaset", namespace, controller["name"]))
            if owner and owner.get("kind") == "Deployment":
                labels[f"{_META}pod_deployment_name"] = owner["name"]
        if controller and controller.get("kind") == "Job":
            if self.attach.job:
                labels[f"{_META}pod_job_name"] = controller["name"]
            owner = _controller(self._find("job", namespace, controller["name"])) if self.attach.cronjob else None
            if owner and owner.get("kind") == "CronJob":
                labels[f"{_META}pod_cronjob_name"] = owner["name"]
        return labels

    def _find(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        return next(
            (store[namespace, name] for store in self._stores.get(kind, ()) if (namespace, name) in store), None
        )


class _Behind:
    """The targets of endpoints, and the pods behind them with the ports that are covered already."""

    def __init__(self, more: _More) -> None:
        self._more = more
        self._targets: list[dict[str, str]] = []
        self._pods: dict[str, tuple[dict[str, Any], set[int]]] = {}

    def add(self, target: dict[str, str], reference: dict[str, Any] | None, port: int | None, node: str | None) -> None:
        if reference:
            node = reference.get("name") if reference.get("kind") == "Node" else node
        target |= self._more.node(node)
        pod = self._more.pod(reference)
        if pod is not None:
            target |= _pod_labels(pod, self._more)
            seen = self._pods.setdefault(pod["metadata"].get("uid") or pod["metadata"]["name"], (pod, set()))[1]
            if port is not None:
                seen.add(port)
                for container, own, init in _containers(pod):
                    if own and own.get("containerPort") == port:
                        target |= _container_labels(pod, container, own, init=init)
        self._targets.append(target)

    def targets(self) -> list[dict[str, str]]:
        """All of them, with the ports of pods that no endpoint covers."""
        others = [
            {
                "__address__": host_port(pod["status"]["podIP"], port["containerPort"]),
                **_container_labels(pod, container, port, init=init),
                **_pod_labels(pod, self._more),
            }
            for pod, seen in self._pods.values()
            if pod.get("status", {}).get("podIP")
            for container, port, init in _containers(pod)
            if port and port["containerPort"] not in seen
        ]
        return self._targets + others


def _all(stores: Stores, kind: str) -> Iterable[dict[str, Any]]:
    return (item for store in stores.get(kind, ()) for item in store.values())


def _plain(text: str) -> str:
    return _UNPLAIN.sub("_", text)


def _described(kind: str, item: dict[str, Any]) -> dict[str, str]:
    """Name, namespace, labels and annotations."""
    metadata = item["metadata"]
    labels = {f"{_META}{kind}_name": metadata["name"], **_label_pairs(kind, metadata)}
    if metadata.get("namespace"):
        labels[f"{_META}namespace"] = metadata["namespace"]
    return labels


def _label_pairs(kind: str, metadata: dict[str, Any]) -> dict[str, str]:
    labels = {}
    for what in ("label", "annotation"):
        for name, value in (metadata.get(f"{what}s") or {}).items():
            labels[f"{_META}{kind}_{what}_{_plain(name)}"] = value
            labels[f"{_META}{kind}_{what}present_{_plain(name)}"] = "true"
    return labels


def _pod_labels(pod: dict[str, Any], more: _More) -> dict[str, str]:
    metadata, status = pod["metadata"], pod.get("status") or {}
    conditions = {condition["type"]: condition["status"] for condition in status.get("conditions") or []}
    labels = {
        **_described("pod", pod),
        f"{_META}pod_ip": status.get("podIP", ""),
        f"{_META}pod_ready": conditions.get("Ready", "unknown").lower(),
        f"{_META}pod_phase": status.get("phase", ""),
        f"{_META}pod_node_name": pod["spec"].get("nodeName", ""),
        f"{_META}pod_host_ip": status.get("hostIP", ""),
        f"{_META}pod_uid": metadata.get("uid", ""),
    }
    controller = _controller(pod)
    if controller:
        labels[f"{_META}pod_controller_kind"] = controller.get("kind", "")
        labels[f"{_META}pod_controller_name"] = controller.get("name", "")
    return labels | more.owners(pod)


def _controller(item: dict[str, Any] | None) -> dict[str, Any] | None:
    owners = (item["metadata"].get("ownerReferences") or []) if item else []
    return next((owner for owner in owners if owner.get("controller")), None)


def _containers(pod: dict[str, Any]) -> Iterable[tuple[dict[str, Any], dict[str, Any] | None, bool]]:
    """Each container with each of its ports, or with None; whether it is an init container."""
    spec = pod["spec"]
    for init, key in ((False, "containers"), (True, "initContainers")):
        for container in spec.get(key) or []:
            for port in container.get("ports") or [None]:
                yield container, port, init


def _container_targets(pod: dict[str, Any], address: str) -> Iterable[dict[str, str]]:
    for container, port, init in _containers(pod):
        target = {"__address__": host_port(address, port["containerPort"]) if port else address}
        yield target | _container_labels(pod, container, port, init=init)


def _container_labels(
    pod: dict[str, Any], container: dict[str, Any], port: dict[str, Any] | None, *, init: bool
) -> dict[str, str]:
    key = "initContainerStatuses" if init else "containerStatuses"
    statuses = {status["name"]: status for status in pod.get("status", {}).get(key) or []}
    prefix = f"{_META}pod_container_"
    labels = {
        f"{prefix}name": container["name"],
        f"{prefix}id": statuses.get(container["name"], {}).get("containerID", ""),
        f"{prefix}image": container.get("image", ""),
        f"{prefix}init": str(init).lower(),
    }
    if port:
        labels[f"{prefix}port_name"] = port.get("name", "")
        labels[f"{prefix}port_number"] = str(port["containerPort"])
        labels[f"{prefix}port_protocol"] = port.get("protocol", "TCP")
    return labels


def _endpoint_target(address: dict[str, Any], port: dict[str, Any], ready: str) -> dict[str, str]:
    prefix = f"{_META}endpoint_"
    target = {
        "__address__": host_port(address["ip"], port["port"]),
        f"{prefix}port_name": port.get("name", ""),
        f"{prefix}port_protocol": port.get("protocol", "TCP"),
        f"{prefix}ready": ready,
    }
    return (
        target
        | _reference(prefix, address.get("targetRef"))
        | _given(prefix, {"node_name": address.get("nodeName"), "hostname": address.get("hostname")})
    )


def _slice_target(address: str, endpoint: dict[str, Any], port: dict[str, Any]) -> dict[str, str]:
    prefix = f"{_META}endpointslice_"
    number = port.get("port")
    conditions = endpoint.get("conditions") or {}
    target = {"__address__": address if number is None else host_port(address, number)}
    target |= _given(
        prefix,
        {
            "port": None if number is None else str(number),
            "port_name": port.get("name"),
            "port_protocol": port.get("protocol"),
            "port_app_protocol": port.get("appProtocol"),
            "endpoint_hostname": endpoint.get("hostname"),
            "endpoint_node_name": endpoint.get("nodeName"),
            "endpoint_zone": endpoint.get("zone"),
            **{
                f"endpoint_conditions_{name}": str(conditions[name]).lower()
                for name in ("ready", "serving", "terminating")
                if conditions.get(name) is not None
            },
        },
    )
    for name, value in (endpoint.get("deprecatedTopology") or {}).items():
        target[f"{prefix}endpoint_topology_{_plain(name)}"] = value
        target[f"{prefix}endpoint_topology_present_{_plain(name)}"] = "true"
    return target | _reference(prefix, endpoint.get("targetRef"))


def _reference(prefix: str, reference: dict[str, Any] | None) -> dict[str, str]:
    if not reference:
        return {}
    return {
        f"{prefix}address_target_kind": reference.get("kind", ""),
        f"{prefix}address_target_name": reference.get("name", ""),
    }


def _given(prefix: str, values: Mapping[str, str | None]) -> dict[str, str]:
    return {f"{prefix}{name}": value for name, value in values.items() if value is not None}


def _covers(pattern: str, host: str) -> bool:
    """Whether a host name is the pattern, or is covered by its first part being `*`."""
    if pattern == host:
        return True
    first, _, rest = pattern.partition(".")
    return first == "*" and rest == host.partition(".")[2]
