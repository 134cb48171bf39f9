from __future__ import annotations

import importlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from watchkeeper.export.boundary import ERRORS
from watchkeeper.integrations import catalogue as module
from watchkeeper.integrations import part
from watchkeeper.integrations.catalogue import Catalogue


class House:
    """Two libraries, each with an integration that notes what it is told, and a catalogue of them."""

    def __init__(self, folder: Path) -> None:
        self.alpha, self.beta = (f"{name}_of_{folder.name}" for name in ("alpha", "beta"))
        self.catalogue = Catalogue()
        self.told: list[str] = []
        self.importing = threading.Event()
        self.installing = threading.Event()
        self.go_on = threading.Event()
        for name in (self.alpha, self.beta):
            (folder / f"{name}.py").write_text("ready = True")
            (folder / f"{name}_integration.py").write_text(
                "import sys\n"
                "house = sys.modules['house_of_this_test']\n"
                f"name = {name!r}\n"
                "def install():\n"
                "    house.told.append('install ' + name.partition('_')[0])\n"
                "    assert sys.modules[name].ready\n"
                "def uninstall(): house.told.append('uninstall ' + name.partition('_')[0])\n"
            )
        self.folder = folder

    def slow_import(self, name: str) -> threading.Thread:
        """Begins to import it in a thread, which waits in the middle of that until `go_on`."""
        (self.folder / f"{name}.py").write_text(
            "import sys\n"
            "house = sys.modules['house_of_this_test']\n"
            "house.importing.set()\n"
            "assert house.go_on.wait(5)\n"
            "ready = True\n"
        )
        thread = threading.Thread(target=importlib.import_module, args=(name,))
        thread.start()
        assert self.importing.wait(5)
        return thread


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    house = House(tmp_path)
    names = (house.alpha, house.beta)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(module, "INTEGRATIONS", {name: f"{name}_integration" for name in names})
    monkeypatch.setitem(sys.modules, "house_of_this_test", house)  # type: ignore[arg-type]
    yield house
    for name in names:
        sys.modules.pop(name, None)
        sys.modules.pop(f"{name}_integration", None)


def test_what_is_imported_already_is_installed_when_asked(house: House) -> None:
    importlib.import_module(house.alpha)
    house.catalogue.want([house.alpha, house.beta])
    assert house.told == []
    house.catalogue.install_imported()
    house.catalogue.install_imported()
    assert house.told == ["install alpha"]
    assert house.beta not in sys.modules
    assert f"{house.beta}_integration" not in sys.modules


def test_what_is_imported_later_is_installed_at_the_end_of_its_import(house: House) -> None:
    house.catalogue.want([house.alpha])
    importlib.import_module(house.alpha)
    assert house.told == ["install alpha"]
    house.catalogue.install_imported()
    assert house.told == ["install alpha"]


def test_what_is_wanted_no_more_is_given_back_and_what_is_imported_then_left_alone(house: House) -> None:
    house.catalogue.want([house.alpha, house.beta])
    importlib.import_module(house.alpha)
    house.catalogue.want([house.beta])
    assert house.told == ["install alpha", "uninstall alpha"]
    house.catalogue.want(())
    importlib.import_module(house.beta)
    house.catalogue.install_imported()
    assert house.told == ["install alpha", "uninstall alpha"]


def test_what_was_given_back_is_installed_again(house: House) -> None:
    importlib.import_module(house.alpha)
    for _ in range(2):
        house.catalogue.want([house.alpha])
        house.catalogue.install_imported()
        house.catalogue.want(())
    assert house.told == ["install alpha", "uninstall alpha"] * 2


def test_an_import_that_another_thread_has_begun_is_waited_for(house: House) -> None:
    thread = house.slow_import(house.alpha)
    house.catalogue.want([house.alpha])
    house.catalogue.install_imported()
    assert house.told == []
    house.go_on.set()
    thread.join(5)
    house.catalogue.install_imported()
    assert house.told == ["install alpha"]


def test_an_import_that_begins_while_its_hook_is_registered_is_waited_for(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []
    register = module.wrapt.register_post_import_hook

    def late(hook: Callable[[Any], None], name: str) -> None:
        threads.append(house.slow_import(name))
        register(hook, name)

    monkeypatch.setattr(module.wrapt, "register_post_import_hook", late)
    house.catalogue.want([house.alpha])
    assert house.told == []
    house.go_on.set()
    threads[0].join(5)
    house.catalogue.install_imported()
    assert house.told == ["install alpha"]


def test_the_sdk_looks_for_such_imports_once_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = []
    monkeypatch.setattr(part.catalogue, "install_imported", lambda: looked.append(True))
    part.libraries.every_round()
    assert looked == [True]


def test_many_threads_importing_at_once_install_once(house: House) -> None:
    house.catalogue.want([house.alpha, house.beta])
    together = threading.Barrier(8)

    def work(name: str) -> None:
        together.wait(5)
        importlib.import_module(name)
        house.catalogue.install_imported()

    threads = [threading.Thread(target=work, args=(name,)) for name in (house.alpha, house.beta) * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert sorted(house.told) == ["install alpha", "install beta"]


def test_who_stops_during_an_installation_finds_it_taken_back(house: House) -> None:
    importlib.import_module(house.alpha)
    integration = importlib.import_module(f"{house.alpha}_integration")
    install = integration.install

    def slow() -> None:
        house.installing.set()
        assert house.go_on.wait(5)
        install()

    integration.install = slow  # type: ignore[attr-defined]
    house.catalogue.want([house.alpha])
    thread = threading.Thread(target=house.catalogue.install_imported)
    thread.start()
    assert house.installing.wait(5)
    house.catalogue.want(())
    house.go_on.set()
    thread.join(5)
    assert house.told == ["uninstall alpha", "install alpha", "uninstall alpha"]


def test_an_integration_that_fails_fails_no_import(house: House, production: None) -> None:
    (house.folder / f"{house.alpha}_integration.py").write_text("def install(): raise RuntimeError('no such version')")
    before = ERRORS.labels(f"integration of {house.alpha}")._value.get()
    house.catalogue.want([house.alpha, house.beta])
    assert importlib.import_module(house.alpha).ready
    importlib.import_module(house.beta)
    assert ERRORS.labels(f"integration of {house.alpha}")._value.get() == before + 1
    assert house.told == ["install beta"]


def test_an_import_that_fails_is_the_applications_and_may_be_tried_again(house: House) -> None:
    source = house.folder / f"{house.alpha}.py"
    source.write_text("raise ImportError('half of it is missing, as it often is')")
    house.catalogue.want([house.alpha])
    with pytest.raises(ImportError, match="half of it"):
        importlib.import_module(house.alpha)
    assert house.told == []
    source.write_text("ready = True")
    importlib.invalidate_caches()
    importlib.import_module(house.alpha)
    assert house.told == ["install alpha"]


def test_a_child_forked_while_the_catalogue_is_locked_installs_what_it_imports(house: House) -> None:
    house.catalogue.want([house.alpha])
    with house.catalogue._lock:
        child = os.fork()
        if child == 0:
            try:
                house.catalogue.after_fork()
                importlib.import_module(house.alpha)
                os._exit(0 if house.told == ["install alpha"] else 1)
            finally:
                os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert house.told == []
