"""Where a Kubernetes cluster is and how to speak to it: from a kubeconfig file, or from inside a pod."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from watchkeeper_server.receive.scrape.discovery.groups import host_port
from watchkeeper_server.receive.scrape.http_config import Authorization, BasicAuth, HttpConfig, TlsConfig
from watchkeeper_server.receive.scrape.yaml_reader import FilePath

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True)
class Cluster:
    """An API server."""

    url: str
    http: HttpConfig


def own_namespace() -> str:
    """The namespace of the pod that this process runs in.

    Raises:
        OSError: it runs in none.
    """
    return (_ACCOUNT / "namespace").read_text().strip()


def cluster_of(kubeconfig: Path | None) -> Cluster:
    """The cluster of a kubeconfig's current context; without one, that of the pod this process runs in.

    Raises:
        OSError: a file cannot be read.
        ValueError: there is no such cluster; the message says what is missing.
    """
    return _from_file(kubeconfig) if kubeconfig else _from_pod(os.environ)


def _from_pod(environment: Mapping[str, str]) -> Cluster:
    host, port = environment.get("KUBERNETES_SERVICE_HOST"), environment.get("KUBERNETES_SERVICE_PORT")
    if not host or not port:
        raise ValueError(
            "this is no pod: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT must be defined; "
            "outside a cluster configure api_server or kubeconfig_file"
        )
    http = HttpConfig(
        authorization=Authorization(credentials_file=FilePath(str(_ACCOUNT / "token"))),
        tls_config=TlsConfig(ca_file=FilePath(str(_ACCOUNT / "ca.crt"))),
    )
    return Cluster(f"https://{host_port(host, port)}", http)


def _from_file(file: Path) -> Cluster:
    try:
        config = yaml.safe_load(file.read_text())
        current = config["current-context"]
        context = _named(config["contexts"], current)["context"]
        cluster = _named(config["clusters"], context["cluster"])["cluster"]
        user = _named(config.get("users") or [], context.get("user", "")).get("user") or {}
        server = str(cluster["server"])
    except (yaml.YAMLError, KeyError, TypeError, StopIteration, AttributeError) as error:
        raise ValueError(f"{file} has no usable current-context with a cluster: {error!r}") from error
    if "exec" in user or "auth-provider" in user:
        raise ValueError(f"{file}: user {context.get('user')} logs in by a program; use a token or a certificate")

    def path(section: Mapping[str, Any], key: str) -> FilePath:
        return FilePath(str(file.parent / section[key])) if section.get(key) else FilePath("")

    tls = TlsConfig(
        ca=_decoded(cluster, "certificate-authority-data"),
        ca_file=path(cluster, "certificate-authority"),
        cert=_decoded(user, "client-certificate-data"),
        cert_file=path(user, "client-certificate"),
        key=_decoded(user, "client-key-data"),
        key_file=path(user, "client-key"),
        server_name=cluster.get("tls-server-name", ""),
        insecure_skip_verify=bool(cluster.get("insecure-skip-tls-verify")),
    )
    http = HttpConfig(tls_config=tls)
    if user.get("token") or user.get("tokenFile"):
        token = Authorization(credentials=user.get("token", ""), credentials_file=path(user, "tokenFile"))
        http = HttpConfig(tls_config=tls, authorization=token)
    elif user.get("username"):
        basic = BasicAuth(username=user["username"], password=user.get("password", ""))
        http = HttpConfig(tls_config=tls, basic_auth=basic)
    return Cluster(server.rstrip("/"), http)


def _named(entries: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next((entry for entry in entries if entry.get("name") == name), {})


def _decoded(section: Mapping[str, Any], key: str) -> str:
    return base64.b64decode(section[key]).decode() if section.get(key) else ""
