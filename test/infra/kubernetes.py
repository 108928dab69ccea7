"""Checks Kubernetes objects, a list of them as JSON on standard input, against the API's own schemas of two versions, strictly."""

import json
import sys

import kubernetes_validate

faults = []
for item in json.load(sys.stdin):
    for version in sys.argv[1:]:
        try:
            kubernetes_validate.validate(item, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            faults.append(f"{version} {item['kind']} {item['metadata']['name']}: {error.message}")
print("\n".join(faults), end="")
sys.exit(1 if faults else 0)
