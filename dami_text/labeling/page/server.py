"""Serving the page: no file of this machine, and no request that a page from elsewhere has forged."""

import getpass
import logging
import os
import socket
import time
import webbrowser
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from dami_text.config.page_options import LOCAL_HOST as HOST
from dami_text.config.page_options import PageConfig
from dami_text.errors import ConfigError, DamiError
from dami_text.labeling.page.accounts import Attempts, password_fits
from dami_text.labeling.page.desk import Desk
from dami_text.labeling.session import Session

PORTS = 100  # that are tried
LOOK = 1.0  # seconds from one look for a training that is due to the next

NOT_ENCRYPTED = (
    "WARNING: the page is not encrypted: others on the network can read passwords and texts. TLS is the work of a "
    "reverse proxy in front of it: give --public-url https://..., and leave --host out if the proxy is on this machine"
)

logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Any, Send], Awaitable[None]]

#: What the page needs of gradio's routes. Its others read files, take uploads or forward requests.
OPEN_PATHS = (
    "/",
    "/config",
    "/config/",
    "/login",
    "/login/",
    "/logout",
    "/theme.css",
    "/favicon.ico",
    "/manifest.json",
)
OPEN_FOLDERS = (
    *("/assets/", "/static/", "/svelte/"),
    *(f"/gradio_api/{name}" for name in ("run/", "heartbeat/", "startup-events", "app_id", "login_check", "user")),
    *(f"/gradio_api/{name}" for name in ("theme.css", "token", "queue/", "reset", "info")),
)

#: The browser is told to load nothing from elsewhere, whatever the page holds.
POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
    )
)
NO_FRAME = "frame-ancestors 'none'"

STARTED = "/gradio_api/startup-events"  # gradio asks its own server for it once, and it tells nothing


class Guard:
    """ASGI middleware: answers 400 to hosts and 403 to origins that are not this machine, 404 to closed paths.

    A page elsewhere may send requests here through its visitor's browser: with a name of its own that resolves to this
    machine (DNS rebinding; the host shows it), or under its own name (the origin shows it).

    Where other machines may open the page (`host` is not the default), they do so by a number or by this machine's
    name, which no page elsewhere can have for its own. `public_url` is where a reverse proxy shows the page: its host
    and origin are allowed too, and its path is taken away where the proxy leaves it.

    An address from which wrong passwords come has to wait, and gets 429 until then.

    With a `secret`, only addresses whose path begins with it are served, under any host and in a frame of any page:
    nobody else knows them. A notebook shows its page so, behind proxies whose names are not known.
    """

    def __init__(
        self, app: App, port: int, host: str = HOST, public_url: str | None = None, secret: str | None = None
    ) -> None:
        self.app, self.secret = app, secret
        self.attempts = Attempts()
        self.public_url = public_url
        self.hosts = {f"{name}:{port}" for name in (HOST, "localhost", "[::1]")}
        self.origins = {f"http://{host}" for host in self.hosts}
        self.names = set() if host == HOST else {"localhost", *names_of_machine()}
        public = urlsplit(public_url or "")
        self.folder = public.path.rstrip("/")
        if public_url is not None:
            self.hosts.add(public.netloc)
            self.origins.add(f"{public.scheme}://{public.netloc}")
        self.wrong_host = (
            f"This host is not served here: open {public_url or f'http://{HOST}:{port}/'}. Where a tunnel leads here "
            f"(ssh -L), give it the same port on both sides: {port}.\n"
        ).encode()

    def _serves(self, host: str) -> bool:
        """Whether the page is shown under a host, as the header Host has it."""
        name = urlsplit(f"//{host}").hostname or ""
        return host in self.hosts or (bool(self.names) and (name in self.names or _is_number(name)))

    def _allows(self, origin: str, host: str) -> bool:
        """Whether an origin is the page's own; that of a request to a served host is that host's."""
        own = {f"http://{host}", f"https://{host}"} if self.names else set()
        return origin in self.origins or origin in own

    async def __call__(self, scope: Scope, receive: Any, send: Send) -> None:
        """Pass on what is allowed."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        headers: dict[bytes, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name, []).append(value.decode("latin-1"))
        hosts, origins = headers.get(b"host", []), headers.get(b"origin", [])
        site = headers.get(b"sec-fetch-site", ["none"])[0]
        path = scope["path"]
        if self.folder and (path == self.folder or path.startswith(f"{self.folder}/")):
            path = path[len(self.folder) :] or "/"
            scope = {**scope, "path": path, "raw_path": path.encode()}
        if self.secret is not None and path != STARTED:
            if not path.startswith(f"/{self.secret}/"):
                await _answer(send, 404, b"not found")
                return
            path = path[len(self.secret) + 1 :]
            scope = {**scope, "path": path, "raw_path": path.encode()}
        if self.secret is None and (len(hosts) != 1 or not self._serves(hosts[0])):
            await _answer(send, 400, self.wrong_host)
        elif (self.secret is None and any(not self._allows(origin, hosts[0]) for origin in origins)) or not (
            site in ("none", "same-origin") or (path == "/" and _is_visit(scope["method"], headers))
        ):
            await _answer(send, 403, b"requests from elsewhere are not served")
        elif path not in OPEN_PATHS and not path.startswith(OPEN_FOLDERS):
            await _answer(send, 404, b"not found")
        elif path.rstrip("/") == "/login" and scope["method"] == "POST":
            await self._log_in(scope, receive, _with_policy(self._with_cookies(send)), headers)
        else:
            await self.app(scope, receive, _with_policy(send, framed=self.secret is not None))

    async def _log_in(self, scope: Scope, receive: Any, send: Send, headers: dict[bytes, list[str]]) -> None:
        """Pass on a login, unless its address has to wait, and count it where it fails."""
        address = self._address(scope, headers)
        if self.attempts.must_wait(address):
            await _answer(send, 429, b"too many wrong passwords: wait a minute")
            return

        async def counted(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                (self.attempts.was_wrong if message["status"] >= 400 else self.attempts.was_right)(address)
            await send(message)

        await self.app(scope, receive, counted)

    def _address(self, scope: Scope, headers: dict[bytes, list[str]]) -> str:
        """Where a request comes from; the proxy says so, where there is one."""
        forwarded = headers.get(b"x-forwarded-for", []) if self.public_url else []
        if forwarded:
            return forwarded[-1].rpartition(",")[2].strip()
        return str((scope.get("client") or ("unknown",))[0])

    def _with_cookies(self, send: Send) -> Send:
        """`send` with cookies that no other page's requests bring along, and only over TLS where the page has it."""
        secure = b"; Secure" if (self.public_url or "").startswith("https://") else b""

        async def with_cookies(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    (name, _strict(value) + (b"" if b"; secure" in value.lower() else secure))
                    if name.lower() == b"set-cookie"
                    else (name, value)
                    for name, value in message.get("headers", [])
                ]
            await send(message)

        return with_cookies


def _strict(cookie: bytes) -> bytes:
    """A cookie's header with SameSite=Strict."""
    parts = [part for part in cookie.split(b"; ") if not part.lower().startswith(b"samesite")]
    return b"; ".join([*parts, b"SameSite=Strict"])


def names_of_machine() -> list[str]:
    """The names of this machine, in lower case."""
    return list(dict.fromkeys(name.lower() for name in (socket.gethostname(), socket.getfqdn()) if name))


def _is_number(name: str) -> bool:
    """Whether a host is an address in numbers, which no name server can lead elsewhere."""
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _is_visit(method: str, headers: dict[bytes, list[str]]) -> bool:
    """Whether somebody follows a link: the page shows itself to them, and to no script of where the link is."""
    return method == "GET" and headers.get(b"sec-fetch-mode") == ["navigate"]


def _with_policy(send: Send, *, framed: bool = False) -> Send:
    """`send` with the headers that keep the browser to this page; other pages may show it only if it is `framed`."""
    added = [
        (b"content-security-policy", (POLICY if framed else f"{POLICY}; {NO_FRAME}").encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        *([] if framed else [(b"x-frame-options", b"DENY")]),
    ]

    async def with_headers(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), *added]
        await send(message)

    return with_headers


async def _answer(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def free_port(first: int, host: str = HOST) -> int:
    """The first port from `first` on that is free on this machine, at the address `host`.

    Raises:
        DamiError: none of the next hundred is.
    """
    for port in range(first, min(first + PORTS, 65536)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    raise DamiError(f"no port from {first} to {first + PORTS - 1} is free; choose another with --port")


def require_gradio() -> None:
    """Raise ConfigError, which says what to install, where the page's library is not."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    try:
        import gradio  # noqa: F401 - whether it is there
    except ImportError as error:
        raise ConfigError('the page needs gradio: pip install "dami_text[ui]"') from error


class ServedPage:
    """A session's page while it is served, in threads of its own; where annotators are named, they log in.

    Args:
        session: what is labelled.
        page: how it is served.
        guidelines: Markdown.
        review: open with a second look at labels.
        secret: what the address has to begin with, for a page in a frame (see `Guard`).

    Attributes:
        port: where it listens.
        address: where people open it.
    """

    def __init__(
        self,
        session: Session,
        page: PageConfig,
        guidelines: str | None = None,
        *,
        review: bool = False,
        secret: str | None = None,
    ) -> None:
        require_gradio()
        from starlette.middleware import Middleware

        from dami_text.labeling.page.components import build_page, launch_options

        self.port = free_port(page.port, page.host)
        self.address = _address(page.host, self.port, page.public_url)
        root_path = page.public_url or ""
        if secret is not None:
            self.address = f"{self.address.rstrip('/')}/{secret}/"
            root_path = f"{root_path.rstrip('/')}/{secret}"
        self.desk = Desk(session, review)
        self._page = build_page(self.desk, _my_name(), guidelines)
        guard = Middleware(Guard, port=self.port, host=page.host, public_url=page.public_url, secret=secret)
        self._page.launch(
            server_name=page.host,
            root_path=root_path,
            server_port=self.port,
            inbrowser=False,
            inline=False,
            share=False,
            quiet=True,
            show_error=True,
            prevent_thread_lock=True,
            auth=_may_enter(session, page.annotators) if page.annotators else None,
            max_file_size=1,
            footer_links=[],
            enable_monitoring=False,
            ssr_mode=False,
            mcp_server=False,
            run_history=False,
            _frontend=False,  # otherwise it is an error if the page takes three seconds to answer, on a busy machine
            app_kwargs={"middleware": [guard]},
            **launch_options(),
        )
        if page.browser:
            webbrowser.open(self.address)

    def tend(self, wait: Callable[[float], object]) -> None:
        """See to what the page does without its visitors, and wait some seconds: to be called again and again."""
        _begin_training(self.desk)
        wait(LOOK)
        self.desk.finder.words()  # made now, so that nobody who asks for similar texts waits for it

    def close(self) -> None:
        """Serve the page no longer; every label is on disk, and a training that has begun comes to its end."""
        self._page.close(verbose=False)
        self.desk.trainer.close()


def serve(session: Session, page: PageConfig, guidelines: str | None, review: bool = False) -> None:
    """Serve the page until it is stopped by ctrl-c; with `review`, it opens with a second look at labels."""
    served = ServedPage(session, page, guidelines, review=review)
    try:
        print(f"page     {served.address}  (ctrl-c ends it; the same command goes on)", flush=True)
        if page.host != HOST and not (page.public_url or "").startswith("https://"):
            print(NOT_ENCRYPTED, flush=True)
        while True:
            served.tend(time.sleep)
    finally:
        served.close()


def _may_enter(session: Session, annotators: Sequence[str]) -> Callable[[str, str], bool]:
    """What says whether a name and a password are those of one of the annotators."""
    allowed, attempts = set(annotators), Attempts()

    def may_enter(name: str, password: str) -> bool:
        if name in allowed and attempts.must_wait(name):
            return False
        fits = password_fits(session.store, name, password) and name in allowed
        if name in allowed:
            (attempts.was_right if fits else attempts.was_wrong)(name)
        return fits

    return may_enter


def _begin_training(desk: Desk) -> None:
    """See that the trainer is there and does what is due, whether or not anybody looks at the page."""
    try:
        desk.trainer.stay()
    except DamiError as error:  # the page says it too
        logger.warning("no training can begin: %s", error)


def _address(host: str, port: int, public_url: str | None) -> str:
    """Where people open the page."""
    if public_url is not None:
        return public_url
    return f"http://{names_of_machine()[0] if host == '0.0.0.0' else host}:{port}/"


def _my_name() -> str:
    """The name that labels are given under where nobody logs in."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "annotator"
