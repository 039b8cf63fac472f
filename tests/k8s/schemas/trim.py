"""Cut a published schema down to what the tests check: no descriptions, no status, only the parts that are reached.

    python tests/k8s/schemas/trim.py crd FILE VERSION ORIGIN > OUT.json        a CustomResourceDefinition in YAML
    python tests/k8s/schemas/trim.py definition FILE NAME ORIGIN > OUT.json    a JSON schema with definitions

Objects are closed (additionalProperties: false), as `kubectl apply --validate=strict` treats them.
"""

import json
import sys
from pathlib import Path
from typing import Any

import yaml

_DROPPED = {
    "description",
    "title",
    "x-kubernetes-validations",
    "x-intellij-html-description",
    "preferredOrder",
    "examples",
}
_META = {
    "type": "object",
    "required": ["name"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string"},
        "namespace": {"type": "string"},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}


def trimmed(node: Any, *, names: bool = False) -> Any:
    """Drop prose, close objects. ``names``: the keys of ``node`` are names of properties, not keywords."""
    if isinstance(node, list):
        return [trimmed(each) for each in node]
    if not isinstance(node, dict):
        return node
    if names:
        return {key: trimmed(value) for key, value in node.items()}
    kept = {
        key: trimmed(value, names=key in ("properties", "definitions", "patternProperties"))
        for key, value in node.items()
        if key not in _DROPPED and not key.startswith("x-kubernetes-list")
    }
    if kept.pop("x-kubernetes-int-or-string", False):
        kept.pop("anyOf", None)
        kept["type"] = ["integer", "string"]
    free = kept.pop("x-kubernetes-preserve-unknown-fields", False)
    if "properties" in kept and kept.get("type") == "object" and not free:
        kept.setdefault("additionalProperties", False)
    return kept


def of_crd(text: str, version: str) -> dict[str, Any]:
    """Schema of one version of a CustomResourceDefinition; the metadata's is ours."""
    crd = yaml.safe_load(text)
    (found,) = [each for each in crd["spec"]["versions"] if each["name"] == version]
    schema = trimmed(found["schema"]["openAPIV3Schema"])
    schema["properties"].pop("status", None)
    schema["properties"]["metadata"] = _META
    schema["properties"]["kind"] = {"const": crd["spec"]["names"]["kind"]}
    schema["properties"]["apiVersion"] = {"const": f"{crd['spec']['group']}/{version}"}
    schema["required"] = sorted({"apiVersion", "kind", "metadata", *schema.get("required", ())})
    return dict(schema)


def of_definition(text: str, name: str) -> dict[str, Any]:
    """A definition with those that it refers to."""
    definitions = trimmed(json.loads(text)["definitions"], names=True)
    reached, waiting = {}, [name]
    while waiting:
        one = waiting.pop()
        if one not in reached:
            reached[one] = definitions[one]
            waiting += [piece.split('"')[0] for piece in json.dumps(definitions[one]).split("#/definitions/")[1:]]
    return {"$ref": f"#/definitions/{name}", "definitions": dict(sorted(reached.items()))}


if __name__ == "__main__":
    how, file, what, origin = sys.argv[1:]
    cut = {"crd": of_crd, "definition": of_definition}[how](Path(file).read_text(encoding="utf-8"), what)
    print(json.dumps({"$comment": origin} | cut, sort_keys=True, separators=(",", ":")))
