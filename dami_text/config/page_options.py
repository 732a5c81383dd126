"""How the labelling page is served."""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import ClassVar
from urllib.parse import urlsplit

from dami_text.config.fields import Options, option

LOCAL_HOST = "127.0.0.1"  # this machine alone


@dataclass(frozen=True, kw_only=True)
class PageConfig(Options):
    """How the page is served; not part of the session."""

    _argument_group_name: ClassVar[str] = "page"

    session: str | None = option(None, "the session's folder (default: the file's name with .dami in place of its end)")
    annotators: list[str] | None = option(None, "who may label, each with a password (default: only you, without one)")
    passwords: str | None = option(
        None, "a file with a line NAME:PASSWORD for each annotator (default: they are asked for once)"
    )
    guidelines: str | None = option(None, "a Markdown file that the page shows on g")
    port: int = option(7860, "the page's port; where it is taken, the next free one")
    host: str = option(
        LOCAL_HOST, "the address to listen at; 0.0.0.0 lets other machines open the page (with --annotators only)"
    )
    public_url: str | None = option(
        None, "where a reverse proxy shows the page, such as https://lab.example/labels (with --annotators only)"
    )
    browser: bool = option(True, "open the page in a browser")

    def _check(self) -> None:
        self.require(1 <= self.port <= 65535, "port", "from 1 to 65535")
        names = self.annotators
        fit = names is None or (len(set(names)) == len(names) and all(re.fullmatch(r"[\w.@-]{1,64}", n) for n in names))
        self.require(fit, "annotators", "different names of letters, digits and . _ @ -")
        self.require(self.passwords is None or names is not None, "passwords", "given with --annotators")
        self.require(_is_ipv4(self.host), "host", "an IPv4 address, such as 127.0.0.1 or 0.0.0.0")
        if self.public_url is not None:
            wanted = "the whole address of the page, such as https://lab.example/labels"
            self.require(_is_address(self.public_url), "public_url", wanted)

    def require_login(self) -> None:
        """Raise ConfigError if others can open the page and nobody logs in."""
        closed = "given with --annotators, who log in: whoever can open the page could label under your name"
        self.require(self.annotators is not None or self.host == LOCAL_HOST, "host", closed)
        self.require(self.annotators is not None or self.public_url is None, "public_url", closed)


def _is_ipv4(host: str) -> bool:
    try:
        IPv4Address(host)
    except ValueError:
        return False
    return True


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False
    return fits and not (parts.query or parts.fragment or parts.username) and url.isprintable() and " " not in url
