"""Our templates before Flower's own: nothing of Flower's is copied, nothing replaced."""

import re
from pathlib import Path
from typing import Any

from tornado.escape import xhtml_escape
from tornado.template import Loader, Template
from tornado.web import StaticFileHandler

HOME = Path(__file__).parent
TEMPLATES = HOME / "templates"
STATIC = HOME / "static"
THEIRS = "flower/"  # a name that begins so is Flower's own template
FIRST_LIST_END = re.compile(r"[ \t]*</ul>")
BROKER_LINK = re.compile(r'<a class="([^"]*)"\s[^>]*>\s*Broker\s*</a>')


class Assets(StaticFileHandler):
    """Our static files. Modules import each other by bare names: a browser asks each time if one has changed."""

    def set_extra_headers(self, path: str) -> None:
        """304 is the usual answer."""
        self.set_header("Cache-Control", "no-cache")


class Overlay(Loader):
    """Looks in our folder first, then in Flower's."""

    def __init__(self, theirs: str) -> None:
        super().__init__(theirs)

    def resolve_path(self, name: str, parent_path: str | None = None) -> str:
        """All names are of one folder; `flower/x.html` stays what it is."""
        return name

    def _create_template(self, name: str) -> Template:
        ours = TEMPLATES / name
        if name.startswith(THEIRS) or not ours.is_file():
            found: Template = super()._create_template(name.removeprefix(THEIRS))
            return found
        return Template(ours.read_bytes(), name=name, loader=self)


def add_tab(html: str | bytes, href: str, *, active: bool) -> str:
    """Flower's navigation with our tab at the end of its first list; as it was, if it has none."""
    text = html.decode() if isinstance(html, bytes) else html
    end = FIRST_LIST_END.search(text)
    if end is None:
        return text
    like = BROKER_LINK.search(text)
    classes = [name for name in (like[1].split() if like else ["nav-link"]) if name != "active"]
    current = ' aria-current="page"' if active else ""
    classes += ["active"] if active else []
    link = f'<a id="nav-containers" class="{" ".join(classes)}" href="{href}"{current}>Containers</a>'
    return f'{text[: end.start()]}        <li class="nav-item">{link}</li>\n{text[end.start() :]}'


def task_script(handler: Any, task: Any) -> str:
    """What leads from Flower's page of a task to its container; nothing, if that page has changed."""
    try:
        source, task_id, containers = asset(handler, "task.js"), task.uuid, handler.reverse_url("containers")
    except (AttributeError, KeyError, OSError):
        return ""
    said = {"src": source, "data-id": task_id, "data-containers": containers}
    attributes = " ".join(f'{name}="{xhtml_escape(value)}"' for name, value in said.items())
    return f"<script {attributes}></script>"


def asset(handler: Any, path: str) -> str:
    """The URL of one of our static files; it changes with the file."""
    where = {"static_path": str(STATIC), "static_url_prefix": f"{handler.reverse_url('containers')}-static/"}
    return StaticFileHandler.make_static_url(where, path)  # type: ignore[no-any-return]
