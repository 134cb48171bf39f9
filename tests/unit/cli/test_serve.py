"""What a started server has loaded."""

from __future__ import annotations

from pathlib import Path

from support.server import ServerProcess


def test_a_server_that_stores_and_answers_has_not_loaded_what_it_does_not_use(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as server:
        pushed = server.request("POST", "/api/v1/import/prometheus", b"up 1\n")
        assert pushed.status in (200, 204), pushed.body
        server.wait_drained()
        assert server.get("/api/v1/query", query="up * vector(2)").json()["data"]["result"]
        loaded = Path(f"/proc/{server.pid}/maps").read_text()
    assert "pyarrow" in loaded
    assert [name for name in ("pandas", "scipy", "sqlalchemy") if f"/{name}/" in loaded] == []
