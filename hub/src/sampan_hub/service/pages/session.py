"""What a browser keeps of its login: sealed, so that it can neither be read nor made. Pure but for the clock."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time

from cryptography.fernet import Fernet, InvalidToken

SESSION_COOKIE = "sampan-session"
LOGIN_COOKIE = "sampan-login"
SESSION_S = 14 * 86400
"""As long as JupyterHub's own login; its logout revokes the token within, which ends this session at once."""
LOGIN_S = 600
_LOGIN = "login "
"""What a sealed login begins with; a sealed session is a token, which has no space."""


class Seal:
    """Seals and opens cookies and makes the tokens of forms, with a key of its own made from the service's."""

    def __init__(self, service_key: bytes) -> None:
        self._key = hmac.digest(service_key, b"sampan pages", hashlib.sha256)
        self._fernet = Fernet(base64.urlsafe_b64encode(self._key))

    def close(self, text: str) -> str:
        """A cookie value that only this installation can open."""
        return self._fernet.encrypt(text.encode()).decode()

    def open(self, sealed: str | None, most_s: int, now_s: float | None = None) -> str | None:
        """What was sealed; None if it was not sealed here, or longer than `most_s` before `now_s` (default: now)."""
        now_s = time.time() if now_s is None else now_s
        try:
            return self._fernet.decrypt_at_time((sealed or "").encode(), most_s, int(now_s)).decode()
        except (InvalidToken, UnicodeError):
            return None

    def form_token(self, session: str) -> str:
        """What forms of this session carry, and no other site can know."""
        mac = hmac.digest(self._key, b"form " + session.encode(), hashlib.sha256)
        return base64.urlsafe_b64encode(mac).decode().rstrip("=")

    def begin_login(self, back_to: str) -> tuple[str, str]:
        """A fresh state for JupyterHub to bring back, and the cookie that remembers it and where the person wanted."""
        state = secrets.token_urlsafe(24)
        return state, self.close(_LOGIN + json.dumps([state, back_to]))

    def finish_login(self, cookie: str | None, state: str) -> str | None:
        """Where the person wanted to go; None unless this browser began the login that comes back."""
        opened = self.open(cookie, LOGIN_S)
        if opened is None or not opened.startswith(_LOGIN):
            return None
        begun, back_to = json.loads(opened.removeprefix(_LOGIN))
        return str(back_to) if hmac.compare_digest(str(begun).encode(), state.encode()) else None
