"""Revokes the API tokens of a server, also those that JupyterHub forgot over a restart."""

from __future__ import annotations

from jupyterhub import orm
from jupyterhub.utils import url_escape_path, url_path_join
from sqlalchemy.orm import Session


def revoke_server_tokens(db: Session, user: orm.User, base_url: str, server_name: str, *, but: str = "") -> int:
    """Delete every token that JupyterHub made for this server (its note says so), but the one given.

    JupyterHub deletes the one it holds in memory, and after a restart it holds none.
    """
    note = f"Server at {url_path_join(base_url, url_escape_path(server_name), '/')}"
    kept = orm.APIToken.find(db, but) if but else None
    gone = [token for token in user.api_tokens if token.note == note and token is not kept]
    for token in gone:
        db.delete(token)
    if gone:
        db.commit()
    return len(gone)
