"""Who may speak to the gateway from a browser: names it is called by, and pages that call it.

The Host check stops DNS rebinding: a foreign name that resolves to this machine is refused whatever the page does.
The Origin check stops foreign pages.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from weightslab_common.errors import PermissionDenied


def host_name(host: str) -> str:
    """The name in a `host` header, without its port; an IPv6 address keeps its brackets."""
    if host.startswith("["):
        return host[: host.find("]") + 1].lower()
    return host.split(":")[0].lower()


def check_host(headers: Mapping[str, str], allowed: Collection[str]) -> None:
    """Raise PermissionDenied when the gateway is called by a name it does not have."""
    host = headers.get("host", "")
    if "*" not in allowed and host_name(host) not in allowed:
        raise PermissionDenied(
            f"this gateway is not called {host[:100]!r}; add the name to WL_ALLOWED_HOSTS if it should be"
        )


def check_origin(headers: Mapping[str, str], allowed: Collection[str], *, named: bool) -> str | None:
    """The origin of the calling page, None when it names none. Raises PermissionDenied for a page not allowed.

    A page at the very address it calls (both behind one ingress) is our own, provided that `named`: the Host was
    checked against names of ours, so that no foreign name can have led here.
    """
    origin = headers.get("origin")
    if origin is None or origin in allowed or (named and _is_own_address(origin, headers)):
        return origin
    raise PermissionDenied(
        f"pages of {origin[:100]!r} may not call this gateway; add the origin to WL_ALLOWED_ORIGINS if they should"
    )


def _is_own_address(origin: str, headers: Mapping[str, str]) -> bool:
    """Whether a page of `origin` calls the address it came from.

    The scheme of our own address is not known behind an ingress, but the browser compares it, too: it says
    `same-origin` of itself wherever the call is encrypted, and a page cannot write this header.
    """
    own = headers.get("host", "").lower()
    return (
        origin in (f"http://{own}", f"https://{own}") and headers.get("sec-fetch-site", "same-origin") == "same-origin"
    )


def check_reader(headers: Mapping[str, str]) -> None:
    """Raise PermissionDenied unless the caller is a page whose script may read the answer, for GET with a cookie.

    A page that reads from another origin names it (`check_origin` has looked at it); at its own origin no browser
    names any for a GET, and says `same-origin` instead. Over plain HTTP to another machine, and in old browsers, it
    says nothing: then only a page of the same site is sent our cookie along (SameSite=Strict), and none of another
    origin can read an answer that it did not ask for with its Origin.
    """
    if "origin" in headers:
        return
    site = headers.get("sec-fetch-site", "same-origin")
    if site != "same-origin" or headers.get("sec-fetch-dest", "empty") != "empty":
        raise PermissionDenied(f"only a page of an allowed origin may ask this; the browser says {site[:20]!r}")
