from __future__ import annotations

import pytest

from watchkeeper.integrations.templates import django_template, flask_template


@pytest.mark.parametrize(
    ("rule", "template"),
    [
        ("/", "/"),
        ("/orders/<order_id>", "/orders/{order_id}"),
        ("/orders/<int:order_id>/items/<uuid:item>", "/orders/{order_id}/items/{item}"),
        ("/<any(about, help, 'a>b'):page>/<string(length=2):lang>", "/{page}/{lang}"),
        ("/static/<path:filename>", "/static/{filename}"),
        ("/a<b", "/a<b"),
    ],
)
def test_werkzeugs_rules(rule: str, template: str) -> None:
    assert flask_template(rule) == template


@pytest.mark.parametrize(
    ("route", "template"),
    [
        ("", "/"),
        ("orders/", "/orders/"),
        ("orders/<int:order_id>/<slug>/", "/orders/{order_id}/{slug}/"),
        ("c++/<int:n>", "/c++/{n}"),
        (r"^orders/(?P<order_id>[0-9]{4})/$", "/orders/{order_id}/"),
        (r"^orders/(\d+)/items/([a-z]+)\Z", "/orders/{0}/items/{1}"),
        (r"api/<str:tenant>/(?P<kind>a|b(c)?)/x$", "/api/{tenant}/{kind}/x"),  # an include of both kinds
        (r"^users\.(?P<format>[a-z0-9]+)/?$", "/users.{format}/"),
        (r"^pages(?:/page-(?P<page>\d+))?/$", "/pages/page-{page}/"),
        (r"^(?P<name>[^)/(]+\))/$", "/{name}/"),
        (r"^(?i)(?!admin)x/$", "/x/"),
        (r"^y\d+/$", r"/y\d/"),
    ],
)
def test_djangos_routes(route: str, template: str) -> None:
    assert django_template(route) == template
