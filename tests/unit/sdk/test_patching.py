from __future__ import annotations

import asyncio
import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import wrapt

from support.sdk import eventually
from watchkeeper.integrations.patching import Patches, instrumented_by_contrib


class Base:
    def inherited(self) -> str:
        return "base"


class Library(Base):
    def method(self, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """What it says."""
        return self, args, kwargs

    @classmethod
    def of_class(cls, argument: int) -> tuple[type, int]:
        return cls, argument

    @staticmethod
    def of_none(argument: int) -> int:
        return argument

    async def coroutine(self, argument: int) -> int:
        await asyncio.sleep(0)
        return argument

    def items(self) -> Iterator[int]:
        yield 1


class Child(Library):
    pass


@pytest.fixture
def calls() -> list[str]:
    return []


@pytest.fixture
def patches() -> Iterator[Patches]:
    patches = Patches()
    yield patches
    patches.undo()


@pytest.fixture
def noting(calls: list[str]) -> Callable[..., Any]:
    def wrapper(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
        calls.append(wrapped.__name__)
        return wrapped(*args, **kwargs)

    return wrapper


def test_a_wrapped_method_gets_what_it_was_called_with(patches: Patches, calls: list[str], noting: Any) -> None:
    patches.wrap(Library, "method", noting)
    library = Library()
    assert library.method(1, two=2) == (library, (1,), {"two": 2})
    assert calls == ["method"]
    assert Library.method.__doc__ == "What it says."


def test_methods_of_a_class_and_of_none_stay_what_they_are(patches: Patches, calls: list[str], noting: Any) -> None:
    patches.wrap(Library, "of_class", noting)
    patches.wrap(Library, "of_none", noting)
    assert Child.of_class(1) == (Child, 1)
    assert Child().of_class(2) == (Child, 2)
    assert Library.of_none(3) == Library().of_none(3) == 3
    assert calls == ["of_class", "of_class", "of_none", "of_none"]
    patches.undo()
    assert isinstance(vars(Library)["of_class"], classmethod)
    assert isinstance(vars(Library)["of_none"], staticmethod)


async def test_coroutine_functions_stay_coroutine_functions(patches: Patches) -> None:
    async def wrapper(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
        return await wrapped(*args, **kwargs) + 1

    patches.wrap(Library, "coroutine", wrapper)
    assert inspect.iscoroutinefunction(Library.coroutine)
    assert inspect.iscoroutinefunction(Library().coroutine)
    assert asyncio.iscoroutinefunction(Library().coroutine)
    assert await Library().coroutine(1) == 2


def test_generator_functions_stay_generator_functions(patches: Patches, noting: Any) -> None:
    patches.wrap(Library, "items", noting)
    assert inspect.isgeneratorfunction(Library.items)
    assert list(Library().items()) == [1]


def test_an_inherited_method_is_wrapped_for_the_class_alone(patches: Patches, calls: list[str], noting: Any) -> None:
    patches.wrap(Library, "inherited", noting)
    assert Base().inherited() == Library().inherited() == "base"
    assert calls == ["inherited"]
    patches.undo()
    assert "inherited" not in vars(Library)
    Base.inherited, original = lambda _self: "changed", Base.inherited  # type: ignore[method-assign]
    try:
        assert Library().inherited() == "changed"
    finally:
        Base.inherited = original  # type: ignore[method-assign]


def test_undo_gives_the_very_functions_back_in_any_order_of_installing(noting: Any) -> None:
    originals = dict(vars(Library))
    first, second = Patches(), Patches()
    first.wrap(Library, "method", noting)
    second.wrap(Library, "of_none", noting)
    first.wrap(Library, "coroutine", noting)
    assert first
    first.undo()
    second.undo()
    assert not first
    assert dict(vars(Library)) == originals


def test_the_same_function_wrapped_twice_is_given_back_last_change_first(
    patches: Patches, calls: list[str], noting: Any
) -> None:
    original = vars(Library)["method"]
    patches.wrap(Library, "method", noting)
    patches.wrap(Library, "method", noting)
    Library().method()
    assert calls == ["method", "method"]
    patches.undo()
    assert vars(Library)["method"] is original


def test_somebody_elses_wrapper_around_ours_stays_and_ours_does_nothing_more(
    patches: Patches, calls: list[str], noting: Any
) -> None:
    original = vars(Library)["method"]
    patches.wrap(Library, "method", noting)

    def theirs(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
        calls.append("theirs")
        return wrapped(*args, **kwargs)

    wrapper = wrapt.FunctionWrapper(vars(Library)["method"], theirs)
    Library.method = wrapper  # type: ignore[method-assign]
    try:
        patches.undo()
        assert vars(Library)["method"] is wrapper
        library = Library()
        assert library.method(1) == (library, (1,), {})
        assert calls == ["theirs"]
    finally:
        Library.method = original  # type: ignore[method-assign]


def test_a_bound_method_kept_from_before_does_nothing_more_after_undo(
    patches: Patches, calls: list[str], noting: Any
) -> None:
    patches.wrap(Library, "of_none", noting)
    kept, kept_method = Library.of_none, Library().method
    patches.undo()
    assert kept(1) == 1
    assert kept_method(1)[1] == (1,)
    assert calls == []


def test_functions_of_modules_are_wrapped_by_the_modules_name(
    patches: Patches, calls: list[str], noting: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("library_of_this_test")

    def send() -> str:
        return "sent"

    module.send = send  # type: ignore[attr-defined]
    module.inner = SimpleNamespace(send=send)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    patches.wrap(module.__name__, "send", noting)
    patches.wrap(module.__name__, "inner.send", noting)
    assert module.send() == module.inner.send() == "sent"
    assert calls == ["send", "send"]
    patches.undo()
    assert module.send is send
    assert module.inner.send is send


def test_what_is_not_there_raises_and_changes_nothing(patches: Patches, noting: Any) -> None:
    with pytest.raises(AttributeError, match="disappeared"):
        patches.wrap(Library, "disappeared", noting)
    assert not patches


def test_further_changes_are_taken_back_too_and_a_failing_one_keeps_none_of_the_others(
    patches: Patches, noting: Any, production: None
) -> None:
    original = vars(Library)["method"]
    undone = []
    patches.wrap(Library, "method", noting)
    patches.on_undo(lambda: undone.append("listener"))
    patches.on_undo(lambda: 1 / 0)  # type: ignore[arg-type]
    patches.undo()
    assert undone == ["listener"]
    assert vars(Library)["method"] is original


def test_an_instrumentation_that_cannot_say_whether_it_is_on_is_off(
    production: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = ModuleType("opentelemetry.instrumentation.t_library")
    monkeypatch.setitem(sys.modules, library.__name__, library)
    assert not instrumented_by_contrib("t_library", "Instrumentor")
    library.Instrumentor = SimpleNamespace  # type: ignore[attr-defined]  # without what we ask for
    assert not instrumented_by_contrib("t_library", "Instrumentor")
    library.Instrumentor = lambda: SimpleNamespace(is_instrumented_by_opentelemetry=True)  # type: ignore[attr-defined]
    assert instrumented_by_contrib("t_library", "Instrumentor")


def test_exceptions_come_through_as_they_are(patches: Patches, noting: Any) -> None:
    error = ValueError("theirs")

    class Failing:
        def method(self) -> None:
            raise error

    patches.wrap(Failing, "method", noting)
    with pytest.raises(ValueError, match="theirs") as raised:
        Failing().method()
    assert raised.value is error


def test_what_is_imported_later_is_wrapped_then(
    patches: Patches, calls: list[str], noting: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    names = [f"late_{number}_of_{tmp_path.name}" for number in range(3)]
    for name in names:
        (tmp_path / f"{name}.py").write_text("def send(): return 'sent'")
    there, later, too_late = names
    importlib.import_module(there)
    for name in names:
        patches.wrap_once_imported(name, "send", noting)
    assert importlib.import_module(there).send() == importlib.import_module(later).send() == "sent"
    assert calls == ["send", "send"]
    patches.undo()
    assert importlib.import_module(there).send() == importlib.import_module(too_late).send() == "sent"
    assert calls == ["send", "send"]


def test_what_is_not_in_a_module_imported_later_fails_no_import(
    patches: Patches, noting: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, production: None
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    name = f"late_of_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text("ready = True")
    patches.wrap_once_imported(name, "send", noting)
    assert importlib.import_module(name).ready


def test_a_module_that_is_just_being_imported_is_wrapped_when_it_has_been(
    patches: Patches, noting: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a library's import is what brings an integration in, whose library imports that one in turn."""
    name = "watchkeeper_test_late"
    (tmp_path / f"{name}.py").write_text("import sys\nsys.begun()\ndef function():\n    return 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "begun", lambda: patches.wrap_once_imported(name, "function", noting), raising=False)
    module = importlib.import_module(name)
    try:
        eventually(lambda: isinstance(module.function, wrapt.FunctionWrapper))
        assert module.function() == 1
        patches.undo()
        assert not isinstance(module.function, wrapt.FunctionWrapper)
    finally:
        del sys.modules[name]
