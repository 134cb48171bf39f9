"""httpx2, which continues httpx under another name: the same, in the same way."""

from __future__ import annotations

from watchkeeper.integrations.httpx import Httpx

_httpx2 = Httpx("httpx2", "HTTPX2ClientInstrumentor")
install, uninstall = _httpx2.install, _httpx2.uninstall
