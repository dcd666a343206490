"""The cluster as a panel under a cell: workers, cores, memory, cost, and how many there should be."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from sampan.errors import SampanError

INTERVAL_S = 2.0


def describe(info: Mapping[str, Any], cost: str | None) -> list[tuple[str, str]]:
    """What the panel says, label and value; pure."""
    wanted = sum(info["wanted"].values())
    low_high = info["adapt"]
    mode = "fixed" if low_high is None else f"adapting between {low_high[0]} and {low_high[1]}"
    lines = [
        ("Workers", f"{info['workers']} of {wanted} ({'resting' if info['rested'] else mode})"),
        ("Cores", str(info["cores"])),
        ("Memory", f"{info['memory_bytes'] / 2**30:.1f} GiB"),
    ]
    if cost is not None:
        lines.append(("Cost so far", cost))
    if info["refused"]:
        lines.append(("Refused", str(info["refused"].get("detail") or info["refused"].get("title"))))
    if info["braked"]:
        lines.append(("Stopped trying", str(info["braked"])))
    return lines


def render(name: str, link: str, lines: list[tuple[str, str]]) -> str:
    """The panel's upper half as HTML; everything in it is escaped."""
    rows = "".join(
        f"<tr><th style='text-align:left;padding-right:1em'>{escape(label)}</th>"
        f"<td style='text-align:left'>{escape(value)}</td></tr>"
        for label, value in lines
    )
    dashboard = f"<a href='{escape(link, quote=True)}' target='_blank'>Dashboard</a>"
    return f"<div><b>{escape(name)}</b> · {dashboard}<table>{rows}</table></div>"


def draw(cluster: Any, info: Mapping[str, Any], cost: str | None) -> str:
    """`render` for a living cluster."""
    return render(cluster.name, cluster.dashboard_link, describe(info, cost))


def read_cost(cluster: Any) -> str | None:
    """What it has cost so far; None where nothing is priced or the service is away. Blocking."""
    try:
        cost = cluster.cost
    except SampanError:
        return None
    return None if cost is None else str(cost)


def make_widget(cluster: Any) -> Any:
    """The panel, refreshed every two seconds; None where ipywidgets is not installed."""
    try:
        from ipywidgets import HTML, BoundedIntText, Button, HBox, Layout, VBox
    except ImportError:
        return None
    narrow = Layout(width="10em")
    info = cluster.sync(cluster.scheduler_comm.sampan_info)
    costs = [read_cost(cluster)]
    facts, trouble = HTML(draw(cluster, info, costs[0])), HTML()
    count = BoundedIntText(sum(info["wanted"].values()), 0, 100_000, description="Workers", layout=narrow)
    low = BoundedIntText(0, 0, 100_000, description="Minimum", layout=narrow)
    high = BoundedIntText(1, 1, 100_000, description="Maximum", layout=narrow)

    def wish(act: Any) -> Any:
        def clicked(_: Any) -> None:
            trouble.value = ""
            try:
                act()
            except SampanError as error:
                trouble.value = f"<span style='color:var(--jp-error-color1,#b00)'>{escape(str(error))}</span>"
            costs[0] = read_cost(cluster)
            facts.value = draw(cluster, cluster.sync(cluster.scheduler_comm.sampan_info), costs[0])

        return clicked

    scale, adapt = Button(description="Scale", layout=narrow), Button(description="Adapt", layout=narrow)
    scale.on_click(wish(lambda: cluster.scale(count.value)))
    adapt.on_click(wish(lambda: cluster.adapt(low.value, max(low.value, high.value))))
    _refresh(cluster, facts, costs)
    return VBox([facts, HBox([count, scale]), HBox([low, high, adapt]), trouble])


def _refresh(cluster: Any, facts: Any, costs: list[str | None]) -> None:
    """Keep the panel's facts fresh from the cluster's own loop, where nothing may block: the cost stays as read."""
    from tornado.ioloop import PeriodicCallback

    async def update() -> None:
        if cluster.status.name != "running":
            facts.value = f"<b>{escape(cluster.name)}</b> has ended"
            return
        info = await cluster.scheduler_comm.sampan_info()
        facts.value = draw(cluster, info, costs[0])

    def install() -> None:
        callback = PeriodicCallback(update, INTERVAL_S * 1000)
        cluster.periodic_callbacks["sampan-panel"] = callback
        callback.start()

    cluster.loop.add_callback(install)
