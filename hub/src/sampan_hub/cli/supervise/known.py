"""Who is known by name before the hub runs: a laptop that several people came to use must not start as if for one."""

from __future__ import annotations

import getpass

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from sampan_hub.cli.supervise.prepare import CannotStart
from sampan_hub.cli.supervise.site import Site
from sampan_hub.settings.policy import people_refusal


def check_people(site: Site) -> None:
    """Raises CannotStart when more people are known than may share this installation's system user."""
    if people_refusal(site.settings, 2) is None:
        return
    others = (_read_names(site) | set(site.settings.admins)) - {getpass.getuser().lower()}
    refused = people_refusal(site.settings, 1 + len(others))
    if refused is not None:
        raise CannotStart(f"{refused} (known here: {', '.join(sorted(others)[:5])} and you)")


def _read_names(site: Site) -> set[str]:
    """The names in JupyterHub's database; empty while there is none."""
    url, file = site.settings.hub_database, site.paths.hub_sqlite
    if url is None and not file.exists():
        return set()
    engine = sa.create_engine(str(url) if url is not None else f"sqlite:///{file}")
    try:
        with engine.connect() as connection:
            if not sa.inspect(connection).has_table("users"):
                return set()
            return set(connection.execute(sa.text("SELECT name FROM users")).scalars())
    except SQLAlchemyError as error:
        what = str(getattr(error, "orig", None) or error).splitlines()[0]
        where = "`hub_database`" if url is not None else str(file)
        raise CannotStart(
            f"JupyterHub's database ({where}) cannot be read: {what}. `sampan check` may say more."
        ) from error
    finally:
        engine.dispose()
