"""Keep of Kubeflow Pipelines' published API description what the tests use.

Usage: python -m tests.services.trim_swagger kfp_api_single_file.swagger.json

The file is backend/api/v2beta1/swagger/kfp_api_single_file.swagger.json of github.com/kubeflow/pipelines, tag 2.17.0.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

KEPT = Path(__file__).with_name("kfp_v2beta1.swagger.json")
ORIGIN = {
    "repository": "https://github.com/kubeflow/pipelines",
    "tag": "2.17.0",
    "commit": "4a3592cb2dd0a91a4652ab93893ec8beda1f3158",
    "path": "backend/api/v2beta1/swagger/kfp_api_single_file.swagger.json",
    "licence": "Apache-2.0, Copyright The Kubeflow Authors",
    "changes": "operations and definitions that the tests do not use, and descriptions, are left out",
}
OPERATIONS = {
    "ExperimentService_CreateExperiment",
    "ExperimentService_ListExperiments",
    "HealthzService_GetHealthz",
    "PipelineService_CreatePipeline",
    "PipelineService_GetPipelineVersion",
    "PipelineService_ListPipelineVersions",
    "PipelineService_ListPipelines",
    "RecurringRunService_CreateRecurringRun",
    "RecurringRunService_DeleteRecurringRun",
    "RecurringRunService_DisableRecurringRun",
    "RecurringRunService_EnableRecurringRun",
    "RecurringRunService_GetRecurringRun",
    "RecurringRunService_ListRecurringRuns",
    "RunService_CreateRun",
    "RunService_GetRun",
    "RunService_ListRuns",
    "RunService_TerminateRun",
    "UploadPipelineVersion",
}
_REFERENCE = re.compile(r'"#/definitions/([^"]+)"')


def trimmed(whole: dict[str, Any]) -> dict[str, Any]:
    """Return the used operations, and the definitions that they need."""
    paths = {}
    for path, item in whole["paths"].items():
        used = {method: _bare(o) for method, o in item.items() if o["operationId"] in OPERATIONS}
        if used:
            paths[path] = used
    definitions: dict[str, Any] = {}
    wanted = set(_REFERENCE.findall(json.dumps(paths)))
    while wanted:
        definitions |= {name: _bare(whole["definitions"][name]) for name in wanted}
        wanted = set(_REFERENCE.findall(json.dumps(definitions))) - set(definitions)
    return {
        "swagger": whole["swagger"],
        "x-origin": ORIGIN,
        "info": whole["info"],
        "paths": paths,
        "definitions": dict(sorted(definitions.items())),
    }


def _bare(node: Any) -> Any:
    """Leave out descriptions and titles, but no property of that name."""
    if isinstance(node, list):
        return [_bare(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {k: v for k, v in node.items() if not (k in ("description", "title", "summary") and isinstance(v, str))}
    return {k: {n: _bare(s) for n, s in v.items()} if k == "properties" else _bare(v) for k, v in kept.items()}


if __name__ == "__main__":
    KEPT.write_text(json.dumps(trimmed(json.loads(Path(sys.argv[1]).read_text())), indent=1) + "\n")
