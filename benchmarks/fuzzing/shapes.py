"""Well-formed documents, drawn from the JSON Schemas that the product publishes of itself."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

NAMES = st.sampled_from(
    [
        "smoke",
        "acme/app",
        "llm.summarize",
        "olivia",
        "a" * 255,
        "é",
        "x\ny",
        "0",
        "null",
        "<b>|`@all",
    ]
)
_CHARACTERS = st.characters(codec="utf-8")
_MOST_ITEMS = 3
_MOMENTS = st.sampled_from(
    ["2026-01-01T00:00:00Z", "2026-06-30T23:59:59.999999+14:00", "0001-01-01T00:00:00Z"]
)


def documents(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Strategy for documents of a JSON Schema as pydantic writes them: `$defs`, `anyOf`, `allOf`.

    What a schema cannot say (one of two fields, an order of times) may be wrong in them.
    """
    return _of(schema, schema.get("$defs", {}), 0)


def _of(schema: dict[str, Any], known: dict[str, Any], depth: int) -> st.SearchStrategy[Any]:
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        return st.deferred(lambda: _of(known[name], known, depth + 1))
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            return st.one_of([_of(each, known, depth) for each in schema[several]])
    match schema.get("type"):
        case "string":
            return _text(schema)
        case "integer":
            low, high = schema.get("minimum"), schema.get("maximum")
            low = schema["exclusiveMinimum"] + 1 if "exclusiveMinimum" in schema else low
            high = schema["exclusiveMaximum"] - 1 if "exclusiveMaximum" in schema else high
            return st.integers(low, high)
        case "number":
            return st.floats(
                schema.get("minimum", schema.get("exclusiveMinimum")),
                schema.get("maximum", schema.get("exclusiveMaximum")),
                exclude_min="exclusiveMinimum" in schema,
                exclude_max="exclusiveMaximum" in schema,
                allow_nan=False,
                allow_infinity=False,
            )
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
        case "array":
            return _list(schema, known, depth)
        case "object":
            return _mapping(schema, known, depth)
        case _:
            return st.one_of(st.none(), st.booleans(), st.integers(), NAMES)


def _text(schema: dict[str, Any]) -> st.SearchStrategy[str]:
    if schema.get("format") == "date-time":
        return _MOMENTS
    if "pattern" in schema:
        return st.from_regex(schema["pattern"], fullmatch=True)
    least, most = schema.get("minLength", 0), schema.get("maxLength")
    drawn = st.text(_CHARACTERS, min_size=least, max_size=min(most or 20, 20))
    fitting = NAMES.filter(lambda name: least <= len(name) <= (most or 1000))
    return st.one_of(drawn, fitting)


def _list(
    schema: dict[str, Any], known: dict[str, Any], depth: int
) -> st.SearchStrategy[list[Any]]:
    if "prefixItems" in schema:
        places = [_of(each, known, depth + 1) for each in schema["prefixItems"]]
        return st.tuples(*places).map(list)
    least = schema.get("minItems", 0)
    most = min(schema.get("maxItems", _MOST_ITEMS), max(least, _MOST_ITEMS))
    each = _of(schema.get("items", {}), known, depth + 1)
    unique = (lambda item: repr(item)) if schema.get("uniqueItems") else None
    return st.lists(each, min_size=least, max_size=most, unique_by=unique)


def _mapping(
    schema: dict[str, Any], known: dict[str, Any], depth: int
) -> st.SearchStrategy[dict[str, Any]]:
    properties: dict[str, Any] = schema.get("properties", {})
    needed = {name: each for name, each in properties.items() if name in schema.get("required", ())}
    shapes = {name: _of(each, known, depth + 1) for name, each in properties.items()}
    fixed = st.fixed_dictionaries(
        {name: shapes[name] for name in needed},
        optional={name: each for name, each in shapes.items() if name not in needed},
    )
    more = schema.get("additionalProperties")
    if not isinstance(more, dict):
        return fixed
    keys = NAMES
    if (names := schema.get("propertyNames")) and "pattern" in names:
        keys = st.from_regex(names["pattern"], fullmatch=True)
    others = st.dictionaries(keys, _of(more, known, depth + 1), max_size=_MOST_ITEMS)
    return st.tuples(others, fixed).map(lambda both: {**both[0], **both[1]})
