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


def describe_cluster(cluster: Any) -> str:
    """`render` for a living cluster. Blocking; the cost is left out while the service is away."""
    info = cluster.sync(cluster.scheduler_comm.sampan_info)
    try:
        cost = cluster.cost
    except SampanError:
        cost = None
    return render(cluster.name, cluster.dashboard_link, describe(info, None if cost is None else str(cost)))


def make_widget(cluster: Any) -> Any:
    """The panel, refreshed every two seconds; None where ipywidgets is not installed."""
    try:
        from ipywidgets import HTML, BoundedIntText, Button, HBox, Layout, VBox
    except ImportError:
        return None
    narrow = Layout(width="10em")
    facts, trouble = HTML(describe_cluster(cluster)), HTML()
    count = BoundedIntText(0, 0, 100_000, description="Workers", layout=narrow)
    low = BoundedIntText(0, 0, 100_000, description="Minimum", layout=narrow)
    high = BoundedIntText(1, 1, 100_000, description="Maximum", layout=narrow)

    def wish(act: Any) -> Any:
        def clicked(_: Any) -> None:
            trouble.value = ""
            try:
                act()
            except SampanError as error:
                trouble.value = f"<span style='color:var(--jp-error-color1,#b00)'>{escape(str(error))}</span>"
            facts.value = describe_cluster(cluster)

        return clicked

    scale, adapt = Button(description="Scale", layout=narrow), Button(description="Adapt", layout=narrow)
    scale.on_click(wish(lambda: cluster.scale(count.value)))
    adapt.on_click(wish(lambda: cluster.adapt(low.value, max(low.value, high.value))))
    _refresh(cluster, facts)
    return VBox([facts, HBox([count, scale]), HBox([low, high, adapt]), trouble])


def _refresh(cluster: Any, facts: Any) -> None:
    """Keep the panel's facts fresh from the cluster's own loop, where nothing may block: the cost stays as it was."""
    from tornado.ioloop import PeriodicCallback

    async def update() -> None:
        if cluster.status.name != "running":
            facts.value = f"<b>{escape(cluster.name)}</b> has ended"
            return
        info = await cluster.scheduler_comm.sampan_info()
        cost = facts.value.partition("Cost so far</th><td style='text-align:left'>")[2].partition("<")[0] or None
        facts.value = render(cluster.name, cluster.dashboard_link, describe(info, cost))

    def install() -> None:
        callback = PeriodicCallback(update, INTERVAL_S * 1000)
        cluster.periodic_callbacks["sampan-panel"] = callback
        callback.start()

    cluster.loop.add_callback(install)
