"""Reads a task of SkyPilot with SkyPilot itself, and says what it would ask for."""

import json
import sys

import sky

try:
    task = sky.Task.from_yaml(sys.argv[1])
except ValueError as error:
    raise SystemExit(str(error))
(resources,) = task.resources
print(
    json.dumps(
        {
            "cloud": str(resources.cloud),
            "region": resources.region,
            "spot": resources.use_spot,
            "accelerators": resources.accelerators,
            "recovery": resources.job_recovery,
            "ports": resources.ports,
            "data": {path: [mount.source, mount.mode.value] for path, mount in task.storage_mounts.items()},
        }
    )
)
