"""Renders the chart of a folder for a release with the values on standard input, by Helm's own engine, and checks it as `helm lint` does."""

import json
import sys

import helm_python as helm
import yaml

folder = sys.argv[1]
values = yaml.safe_load(sys.stdin)
try:
    report = helm.lint(folder, values=values, strict=True)
    if report["errors"]:
        raise SystemExit("\n".join(report["errors"]))
    with helm.Chart.load(folder) as chart:
        chart.validate_schema(values)
        rendered = chart.render(values=values, name=sys.argv[2], namespace="sotto")
except helm.HelmError as error:
    raise SystemExit(str(error))
print(json.dumps([text for path, text in rendered.items() if path.endswith(".yaml")]))
