"""Kubernetes discovery against a served API: answers of a cluster of one node, cut to what discovery reads."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from support.scraping import Clock, until
from watchkeeper_server.receive.scrape.discovery import kubernetes_watch
from watchkeeper_server.receive.scrape.discovery.kubernetes import KubernetesDiscovery, Namespaces, Selector
from watchkeeper_server.receive.scrape.discovery.kubernetes_cluster import cluster_of
from watchkeeper_server.receive.scrape.discovery.kubernetes_objects import Attach
from watchkeeper_server.receive.scrape.http_config import Authorization, HttpConfig, TlsConfig

META = "__meta_kubernetes_"


def meta(name: str, namespace: str = "", **more: Any) -> dict[str, Any]:
    return {"name": name, **({"namespace": namespace} if namespace else {}), "resourceVersion": "1", **more}


def owner(kind: str, name: str) -> dict[str, Any]:
    return {"kind": kind, "name": name, "controller": True}


NODE = {
    "metadata": meta("node-1", labels={"zone": "a", "kubernetes.io/arch": "amd64"}, annotations={"a/b": "c"}),
    "spec": {"providerID": "kind://node-1"},
    "status": {
        "addresses": [
            {"type": "Hostname", "address": "node-1"},
            {"type": "InternalIP", "address": "10.0.0.1"},
            {"type": "InternalIP", "address": "fd00::1"},
        ],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
    },
}
POD = {
    "metadata": meta(
        "web-1", "shop", uid="u-1", labels={"app": "web"}, annotations={"prometheus.io/scrape": "true"},
        ownerReferences=[owner("ReplicaSet", "web-5d")],
    ),
    "spec": {
        "nodeName": "node-1",
        "containers": [
            {"name": "web", "image": "web:1", "ports": [
                {"name": "http", "containerPort": 8080, "protocol": "TCP"}, {"name": "metrics", "containerPort": 9100},
            ]},
            {"name": "sidecar", "image": "sidecar:1"},
        ],
        "initContainers": [{"name": "init", "image": "init:1", "ports": [{"containerPort": 1}]}],
    },
    "status": {
        "podIP": "10.1.0.5", "hostIP": "10.0.0.1", "phase": "Running",
        "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [{"name": "web", "containerID": "containerd://abc"}],
    },
}  # fmt: skip
JOB_POD = {
    "metadata": meta("report-x", "shop", uid="u-2", ownerReferences=[owner("Job", "report-1")]),
    "spec": {"nodeName": "node-1", "containers": [{"name": "report"}]},
    "status": {"podIP": "10.1.0.6", "phase": "Pending"},
}
STARTING = {"metadata": meta("new", "shop"), "spec": {"containers": [{"name": "x"}]}, "status": {"phase": "Pending"}}
SERVICE = {
    "metadata": meta("web", "shop", labels={"app": "web"}),
    "spec": {"type": "LoadBalancer", "clusterIP": "10.2.0.1", "loadBalancerIP": "1.2.3.4",
             "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]},
}  # fmt: skip
REFERENCE = {"kind": "Pod", "name": "web-1", "namespace": "shop"}
ENDPOINTS = {
    "metadata": meta("web", "shop", labels={"l": "e"}),
    "subsets": [{
        "addresses": [{"ip": "10.1.0.5", "nodeName": "node-1", "hostname": "h", "targetRef": REFERENCE}],
        "notReadyAddresses": [{"ip": "10.1.0.9"}],
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    }],
}  # fmt: skip
SLICE = {
    "metadata": meta("web-abc", "shop", labels={"kubernetes.io/service-name": "web"}),
    "addressType": "IPv4",
    "endpoints": [{"addresses": ["10.1.0.5"], "conditions": {"ready": True, "serving": True, "terminating": False},
                   "nodeName": "node-1", "zone": "a", "targetRef": REFERENCE}],
    "ports": [{"name": "http", "port": 8080, "protocol": "TCP", "appProtocol": "h2c"}],
}  # fmt: skip
INGRESS = {
    "metadata": meta("front", "shop"),
    "spec": {
        "ingressClassName": "nginx",
        "tls": [{"hosts": ["*.shop.example"]}],
        "rules": [
            {"host": "www.shop.example", "http": {"paths": [{"path": "/a"}, {}]}},
            {"host": "plain.example"},
        ],
    },
}
OBJECTS: dict[str, list[dict[str, Any]]] = {
    "/api/v1/nodes": [NODE],
    "/api/v1/namespaces": [{"metadata": meta("shop", labels={"team": "t"})}],
    "/api/v1/pods": [POD, JOB_POD, STARTING],
    "/api/v1/services": [SERVICE],
    "/api/v1/endpoints": [ENDPOINTS],
    "/apis/discovery.k8s.io/v1/endpointslices": [SLICE],
    "/apis/networking.k8s.io/v1/ingresses": [INGRESS],
    "/apis/apps/v1/replicasets": [{"metadata": meta("web-5d", "shop", ownerReferences=[owner("Deployment", "web")])}],
    "/apis/batch/v1/jobs": [{"metadata": meta("report-1", "shop", ownerReferences=[owner("CronJob", "report")])}],
}


class ApiServer:
    """Lists in pages of one, and watches that say what they are told to."""

    def __init__(self, objects: dict[str, list[dict[str, Any]]]) -> None:
        self.objects = objects
        self.asked: list[str] = []
        self.watches: dict[str, asyncio.StreamWriter] = {}
        self.refuse = False

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                target = head.split(" ")[1]
                self.asked.append(target)
                path, query = urlsplit(target).path, parse_qs(urlsplit(target).query)
                if self.refuse:
                    writer.write(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
                elif "watch" in query:
                    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                    self.watches[path] = writer
                else:
                    self.list(writer, path, int(query.get("continue", ["0"])[0]))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def list(self, writer: asyncio.StreamWriter, path: str, start: int) -> None:
        items = self.objects.get(path, [])
        more = {"continue": str(start + 1)} if start + 1 < len(items) else {}
        content = json.dumps({"items": items[start : start + 1], "metadata": {"resourceVersion": "5", **more}}).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content) + content)

    async def say(self, path: str, kind: str, item: dict[str, Any]) -> None:
        await until(lambda: path in self.watches)
        line = json.dumps({"type": kind, "object": item}).encode() + b"\n"
        self.watches[path].write(b"%x\r\n%s\r\n" % (len(line), line))
        await self.watches[path].drain()

    async def end(self, path: str) -> None:
        writer = self.watches.pop(path)
        writer.write(b"0\r\n\r\n")
        await writer.drain()


class Cluster:
    """A discovery at work on a served API."""

    def __init__(self, api: ApiServer, clock: Clock) -> None:
        self.api = api
        self.clock = clock
        self.published: list[list[dict[str, str]]] = []

    def targets(self) -> dict[str, dict[str, str]]:
        return {target["__address__"]: target for target in self.published[-1]}

    async def next(self) -> dict[str, dict[str, str]]:
        before = len(self.published)
        await asyncio.sleep(0.02)
        await self.clock.advance(1.0)
        await until(lambda: len(self.published) > before)
        return self.targets()


@asynccontextmanager
async def discovering(objects: dict[str, list[dict[str, Any]]] | None = None, **fields: Any) -> AsyncIterator[Cluster]:
    api = ApiServer(OBJECTS if objects is None else objects)
    server = await asyncio.start_server(api.handle, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    cluster = Cluster(api, Clock())
    discovery = KubernetesDiscovery(api_server=url, **fields)
    task = asyncio.create_task(
        discovery.discover(
            lambda groups: cluster.published.append([t for group in groups for t in group.merged()]),
            cluster.clock.sleep,
        )
    )
    try:
        await until(lambda: cluster.published or task.done())
        yield cluster
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait([task])
        server.close()


def stripped(target: dict[str, str]) -> dict[str, str]:
    return {name.removeprefix(META): value for name, value in target.items() if value}


async def test_a_node_is_its_kubelet() -> None:
    async with discovering(role="node") as cluster:
        assert {address: stripped(target) for address, target in cluster.targets().items()} == {
            "10.0.0.1:10250": {
                "__address__": "10.0.0.1:10250",
                "instance": "node-1",
                "node_name": "node-1",
                "node_provider_id": "kind://node-1",
                "node_address_InternalIP": "10.0.0.1",
                "node_address_Hostname": "node-1",
                "node_label_zone": "a",
                "node_labelpresent_zone": "true",
                "node_label_kubernetes_io_arch": "amd64",
                "node_labelpresent_kubernetes_io_arch": "true",
                "node_annotation_a_b": "c",
                "node_annotationpresent_a_b": "true",
            }
        }


async def test_a_pod_is_each_port_of_its_containers_with_what_is_attached() -> None:
    attach = Attach(node=True, namespace=True, deployment=True, job=True, cronjob=True)
    async with discovering(role="pod", attach_metadata=attach) as cluster:
        targets = cluster.targets()
        assert set(targets) == {"10.1.0.5:8080", "10.1.0.5:9100", "10.1.0.5", "10.1.0.5:1", "10.1.0.6"}
        assert stripped(targets["10.1.0.5:8080"]) == {
            "__address__": "10.1.0.5:8080",
            "namespace": "shop",
            "pod_name": "web-1",
            "pod_ip": "10.1.0.5",
            "pod_uid": "u-1",
            "pod_ready": "true",
            "pod_phase": "Running",
            "pod_node_name": "node-1",
            "pod_host_ip": "10.0.0.1",
            "pod_label_app": "web",
            "pod_labelpresent_app": "true",
            "pod_annotation_prometheus_io_scrape": "true",
            "pod_annotationpresent_prometheus_io_scrape": "true",
            "pod_controller_kind": "ReplicaSet",
            "pod_controller_name": "web-5d",
            "pod_deployment_name": "web",
            "pod_container_name": "web",
            "pod_container_id": "containerd://abc",
            "pod_container_image": "web:1",
            "pod_container_init": "false",
            "pod_container_port_name": "http",
            "pod_container_port_number": "8080",
            "pod_container_port_protocol": "TCP",
            "node_name": "node-1",
            "node_label_zone": "a",
            "node_labelpresent_zone": "true",
            "node_label_kubernetes_io_arch": "amd64",
            "node_labelpresent_kubernetes_io_arch": "true",
            "namespace_label_team": "t",
            "namespace_labelpresent_team": "true",
        }
        assert targets["10.1.0.5:1"][f"{META}pod_container_init"] == "true"
        report = targets["10.1.0.6"]
        assert (report[f"{META}pod_job_name"], report[f"{META}pod_cronjob_name"]) == ("report-1", "report")
        assert report[f"{META}pod_ready"] == "unknown"


async def test_a_service_is_its_ports() -> None:
    async with discovering(role="service") as cluster:
        assert stripped(cluster.targets()["web.shop.svc:80"]) == {
            "__address__": "web.shop.svc:80",
            "namespace": "shop",
            "service_name": "web",
            "service_type": "LoadBalancer",
            "service_cluster_ip": "10.2.0.1",
            "service_loadbalancer_ip": "1.2.3.4",
            "service_label_app": "web",
            "service_labelpresent_app": "true",
            "service_port_name": "http",
            "service_port_number": "80",
            "service_port_protocol": "TCP",
        }


async def test_endpoints_are_joined_with_their_service_and_pods() -> None:
    async with discovering(role="endpoints") as cluster:
        targets = cluster.targets()
        assert set(targets) == {"10.1.0.5:8080", "10.1.0.9:8080", "10.1.0.5:9100", "10.1.0.5:1"}
        ready = stripped(targets["10.1.0.5:8080"])
        assert {
            "endpoints_name": "web",
            "endpoints_label_l": "e",
            "endpoint_ready": "true",
            "endpoint_hostname": "h",
            "endpoint_node_name": "node-1",
            "endpoint_port_name": "http",
            "endpoint_port_protocol": "TCP",
            "endpoint_address_target_kind": "Pod",
            "endpoint_address_target_name": "web-1",
            "service_name": "web",
            "service_label_app": "web",
            "pod_name": "web-1",
            "pod_container_port_number": "8080",
            "namespace": "shop",
        }.items() <= ready.items()
        assert targets["10.1.0.9:8080"][f"{META}endpoint_ready"] == "false"
        assert targets["10.1.0.5:9100"][f"{META}pod_container_port_name"] == "metrics"
        assert f"{META}endpoint_ready" not in targets["10.1.0.5:9100"]


async def test_endpoint_slices_are_joined_too() -> None:
    async with discovering(role="endpointslice", attach_metadata=Attach(node=True)) as cluster:
        targets = cluster.targets()
        assert {
            "endpointslice_name": "web-abc",
            "endpointslice_address_type": "IPv4",
            "endpointslice_port": "8080",
            "endpointslice_port_name": "http",
            "endpointslice_port_protocol": "TCP",
            "endpointslice_port_app_protocol": "h2c",
            "endpointslice_endpoint_conditions_ready": "true",
            "endpointslice_endpoint_conditions_serving": "true",
            "endpointslice_endpoint_conditions_terminating": "false",
            "endpointslice_endpoint_node_name": "node-1",
            "endpointslice_endpoint_zone": "a",
            "endpointslice_address_target_kind": "Pod",
            "endpointslice_address_target_name": "web-1",
            "service_name": "web",
            "pod_name": "web-1",
            "node_label_zone": "a",
        }.items() <= stripped(targets["10.1.0.5:8080"]).items()
        assert "10.1.0.5:9100" in targets


async def test_an_ingress_is_its_paths() -> None:
    async with discovering(role="ingress") as cluster:
        found = [
            (stripped(t)["ingress_scheme"], stripped(t)["ingress_host"], stripped(t)["ingress_path"])
            for t in cluster.published[-1]
        ]
        assert found == [
            ("https", "www.shop.example", "/a"),
            ("https", "www.shop.example", "/"),
            ("http", "plain.example", "/"),
        ]
        assert {stripped(t)["ingress_class_name"] for t in cluster.published[-1]} == {"nginx"}


async def test_changes_are_followed_and_lost_watches_begin_again() -> None:
    path = "/api/v1/pods"
    async with discovering({path: [POD]}, role="pod") as cluster:
        changed = {**JOB_POD, "metadata": {**JOB_POD["metadata"], "resourceVersion": "7"}}
        await cluster.api.say(path, "ADDED", changed)
        assert "10.1.0.6" in await cluster.next()
        await cluster.api.say(path, "BOOKMARK", {"metadata": {"resourceVersion": "9"}})
        await cluster.api.say(path, "DELETED", POD | {"metadata": {**POD["metadata"], "resourceVersion": "11"}})
        assert set(await cluster.next()) == {"10.1.0.6"}
        await cluster.api.end(path)  # as the server does every few minutes
        await until(lambda: "resourceVersion=11&timeoutSeconds=300" in cluster.api.asked[-1])
        await cluster.api.say(path, "ERROR", {"code": 410})
        assert "10.1.0.5:8080" in await cluster.next()  # listed anew


async def test_watches_that_bring_nothing_are_begun_more_and_more_seldom() -> None:
    path = "/api/v1/pods"
    async with discovering({path: [POD]}, role="pod") as cluster:
        api = cluster.api
        for pause in (1, 2, 4, 8, 16, 30, 30):
            await api.end(path)
            await asyncio.sleep(0.02)
            asked = len(api.asked)
            await cluster.clock.advance(pause - 0.1)
            await asyncio.sleep(0.02)
            assert len(api.asked) == asked, "asked again too soon"
            await cluster.clock.advance(0.1)
            await until(lambda asked=asked: len(api.asked) > asked)
        await api.say(path, "BOOKMARK", {"metadata": {"resourceVersion": "9"}})
        asked = len(api.asked)
        await api.end(path)  # after it was of use
        await until(lambda: len(api.asked) > asked)


async def test_a_watch_ends_by_itself_on_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubernetes_watch, "_WATCH_SECONDS", 0)
    monkeypatch.setattr(kubernetes_watch, "_SPARE_SECONDS", 0.05)  # the server never ends one
    path = "/api/v1/pods"
    async with discovering({path: [POD]}, role="pod") as cluster:
        await until(lambda: path in cluster.api.watches)
        assert "timeoutSeconds=0" in cluster.api.asked[-1]
        await asyncio.sleep(0.1)
        cluster.api.objects[path] = [JOB_POD]
        await cluster.clock.advance(1)
        assert set(await cluster.next()) == {"10.1.0.6"}


async def test_a_cluster_that_cannot_be_asked_keeps_its_targets(caplog: pytest.LogCaptureFixture) -> None:
    path = "/api/v1/pods"
    async with discovering({path: [POD]}, role="pod") as cluster:
        await until(lambda: path in cluster.api.watches)
        cluster.api.refuse = True
        await cluster.api.end(path)
        await asyncio.sleep(0.02)
        await cluster.clock.advance(1)
        await until(lambda: "is asked again in a while" in caplog.text)
        assert "10.1.0.5:8080" in cluster.targets()
        cluster.api.refuse = False
        cluster.api.objects[path] = [JOB_POD]
        await cluster.clock.advance(5)
        assert set(await cluster.next()) == {"10.1.0.6"}


async def test_namespaces_and_selectors_are_asked_for() -> None:
    selectors = (Selector("pod", label="app=web", field="status.phase=Running"),)
    namespaces = Namespaces(names=("shop", "other"))
    async with discovering({}, role="pod", namespaces=namespaces, selectors=selectors) as cluster:
        asked = {urlsplit(target).path: parse_qs(urlsplit(target).query) for target in cluster.api.asked}
        assert set(asked) == {"/api/v1/namespaces/shop/pods", "/api/v1/namespaces/other/pods"}
        for query in asked.values():
            assert query["labelSelector"] == ["app=web"]
            assert query["fieldSelector"] == ["status.phase=Running"]


def test_a_kubeconfig_says_where_the_cluster_is_and_who_asks(tmp_path: Path) -> None:
    file = tmp_path / "config"
    data = base64.b64encode(b"CA").decode()
    file.write_text(
        f"""
current-context: c
contexts: [{{name: c, context: {{cluster: k, user: u}}}}]
clusters: [{{name: k, cluster: {{server: "https://kube:6443/", certificate-authority-data: {data}}}}}]
users: [{{name: u, user: {{token: t}}}}]
"""
    )
    cluster = cluster_of(file)
    assert cluster.url == "https://kube:6443"
    assert cluster.http == HttpConfig(authorization=Authorization(credentials="t"), tls_config=TlsConfig(ca="CA"))
    file.write_text("current-context: c\n")
    with pytest.raises(ValueError, match="no usable current-context"):
        cluster_of(file)


def test_outside_a_cluster_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ValueError, match="configure api_server or kubeconfig_file"):
        cluster_of(None)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    assert cluster_of(None).url == "https://[fd00::1]:443"
