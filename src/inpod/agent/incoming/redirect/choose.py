"""Which way to divert connections there is here: found by trying."""

import errno
import os
from collections.abc import Collection
from typing import Literal

from inpod.agent.incoming.redirect import nftables, sk_lookup
from inpod.agent.incoming.redirect.base import Redirect
from inpod.agent.incoming.redirect.nftables import Nftables
from inpod.agent.incoming.redirect.sk_lookup import SkLookup

Force = Literal["auto", "sk_lookup", "nftables"]
"""`auto` tries all, the best first."""


def choose(force: Force = "auto", addresses: Collection[str] | None = None) -> Redirect:
    """Return a redirect.

    Args:
        addresses: The only destination addresses that are diverted; None: all of this network namespace.

    Raises:
        OSError: There is none; `strerror` says why, for each that was tried.
    """
    release = os.uname().release
    reasons: list[str] = []
    code = errno.EOPNOTSUPP
    if force in ("auto", "sk_lookup"):
        try:
            redirect = SkLookup(addresses)
            try:
                redirect.attach()
            except BaseException:
                redirect.close()
                raise
            return redirect
        except OSError as error:
            code = error.errno or code
            reasons.append(sk_lookup.explain(error, release))
    if force in ("auto", "nftables"):
        try:
            return Nftables(addresses)
        except OSError as error:
            code = error.errno or code
            reasons.append(nftables.explain(error, release))
    if not reasons:
        raise OSError(errno.EINVAL, f"there is no redirect '{force}': 'auto', 'sk_lookup' or 'nftables'")
    raise OSError(code, "; ".join(reasons))


def probe(force: Force = "auto") -> str | None:
    """Return why there is none; None when there is one."""
    try:
        choose(force).close()
    except OSError as error:
        return error.strerror
    return None
