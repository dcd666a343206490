"""`python -m tools.chart`: writes both files."""

from __future__ import annotations

import json
from pathlib import Path

from tools.chart.render import render_values
from tools.chart.schema import make_values_schema

CHART = Path(__file__).parents[2] / "helm" / "sampan"

if __name__ == "__main__":
    (CHART / "values.yaml").write_text(render_values(), "utf-8")
    (CHART / "values.schema.json").write_text(json.dumps(make_values_schema(), indent=1) + "\n", "utf-8")
