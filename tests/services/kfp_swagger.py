"""Check requests and answers against Kubeflow Pipelines' published API description, stricter than the server does.

A field that the description does not name is refused, in requests and in answers.
"""

import copy
import email
import email.policy
import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from jsonschema import Draft4Validator, FormatChecker

from tests.services.trim_swagger import KEPT

_FORMATS = FormatChecker(formats=())


@_FORMATS.checks("date-time", raises=ValueError)
def _is_time(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value.replace("Z", "+00:00")).tzinfo is not None


@_FORMATS.checks("int64", raises=ValueError)
def _is_whole(value: object) -> bool:
    return not isinstance(value, str) or int(value) is not None


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One method of one path of the description."""

    name: str
    path: re.Pattern[str]
    method: str
    parameters: list[dict[str, Any]]
    responses: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request that is as the description says."""

    operation: str
    path: dict[str, str]
    query: dict[str, str]
    body: Any
    file: bytes = b""


class Violation(Exception):
    """A request or an answer is not as the description says."""


class Description:
    """The description, ready to check with."""

    def __init__(self) -> None:
        whole = json.loads(KEPT.read_text())
        self._definitions = {name: _strict(schema) for name, schema in whole["definitions"].items()}
        self._operations = {
            o["operationId"]: Operation(
                name=o["operationId"],
                path=re.compile(re.sub(r"\\\{([^}]+)\\\}", r"(?P<\1>[^/:]+)", re.escape(path)) + "$"),
                method=method.upper(),
                parameters=o.get("parameters", []),
                responses=o["responses"],
            )
            for path, item in whole["paths"].items()
            for method, o in item.items()
        }

    def read(self, method: str, url: str, headers: Any, raw: bytes) -> Asked:
        """Return a request's parts; raise Violation unless the description allows each of them."""
        parts = urlsplit(url)
        for operation in self._operations.values():
            found = operation.path.match(parts.path)
            if found and operation.method == method:
                return self._checked(operation, found.groupdict(), parts.query, headers, raw)
        raise Violation(f"{method} {parts.path}: no such operation")

    def check_answer(self, operation: str, status: int, body: Any) -> None:
        """Raise Violation unless the description allows this answer."""
        responses = self._operations[operation].responses
        schema = responses.get(str(status), responses.get("default", {})).get("schema")
        if schema is not None:
            self._check(_strict(schema), body, f"answer {status} of {operation}")

    def _checked(self, operation: Operation, path: dict[str, str], query: str, headers: Any, raw: bytes) -> Asked:
        given = dict(parse_qsl(query, keep_blank_values=True))
        known = {p["name"]: p for p in operation.parameters if p["in"] == "query"}
        for name, text in given.items():
            if name not in known:
                raise Violation(f"{operation.name}: no query parameter {name!r}")
            schema = {key: known[name][key] for key in ("type", "enum") if key in known[name]}
            value = int(text) if known[name]["type"] == "integer" else text
            self._check(schema, value, f"{operation.name}?{name}")
        body, file = None, b""
        for parameter in operation.parameters:
            if parameter["in"] == "body":
                body = json.loads(raw)
                self._check(_strict(parameter["schema"]), body, f"body of {operation.name}")
                self._writable(parameter["schema"], body)
            if parameter["in"] == "formData":
                file = _file(parameter["name"], headers, raw)
        if raw and body is None and not file:
            raise Violation(f"{operation.name}: takes no body")
        return Asked(operation=operation.name, path=path, query=given, body=body, file=file)

    def _writable(self, schema: dict[str, Any], body: dict[str, Any]) -> None:
        definition = self._definitions[schema["$ref"].rpartition("/")[2]]
        for name in body:
            if definition["properties"][name].get("readOnly"):
                raise Violation(f"{name} is for answers only")

    def _check(self, schema: dict[str, Any], value: Any, where: str) -> None:
        validator = Draft4Validator({"allOf": [schema], "definitions": self._definitions}, format_checker=_FORMATS)
        for error in validator.iter_errors(value):
            place = "/".join(map(str, error.absolute_path))
            raise Violation(f"{where}: {place}: {error.message}")


def _strict(schema: dict[str, Any]) -> dict[str, Any]:
    found = copy.deepcopy(schema)
    pending = [found]
    while pending:
        node = pending.pop()
        if "properties" in node:
            node.setdefault("additionalProperties", False)
        pending += [item for item in node.values() if isinstance(item, dict)]
    return found


def _file(name: str, headers: Any, raw: bytes) -> bytes:
    head = f"Content-Type: {headers['Content-Type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + raw, policy=email.policy.default)
    for part in message.iter_parts():
        if part.get_param("name", header="content-disposition") == name and part.get_filename():
            return part.get_payload(decode=True)
    raise Violation(f"no file {name!r} in the form")
