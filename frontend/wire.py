"""Write src/wire.ts: the types of what the page and its server say, from src/zhuyi/microscope/schema.py.

python frontend/wire.py
"""

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from zhuyi.microscope.schema import Embedded, Failure, HeadEffects, Held, Occlusion, Place, Request, Stored

PATH = Path(__file__).parent / "src" / "wire.ts"
PLAIN = {"integer": "number", "number": "number", "string": "string", "boolean": "boolean", "null": "null"}


def typescript() -> str:
    """All interfaces. What is sent has all its properties; what is asked may leave some out."""
    messages = (Held, Embedded, Stored, HeadEffects, Occlusion, Failure)
    sent = _definitions([(each, "serialization") for each in messages])
    complete = {name: {**schema, "required": [*schema["properties"]]} for name, schema in sent.items()}
    interfaces = {**complete, **_definitions([(each, "validation") for each in (Request, Place)])}
    return "// Written by frontend/wire.py from src/zhuyi/microscope/schema.py.\n" + "".join(
        f"\nexport interface {name} {{\n{_properties(schema)}}}\n" for name, schema in interfaces.items()
    )


def _definitions(models: list[tuple[type[BaseModel], Literal["validation", "serialization"]]]) -> dict[str, Any]:
    definitions: dict[str, Any] = models_json_schema(models, ref_template="{model}")[1]["$defs"]
    return definitions


def _properties(schema: dict[str, Any]) -> str:
    optional = schema["properties"].keys() - schema["required"]
    return "".join(
        f"  {name}{'?' if name in optional else ''}: {_type(each)};\n" for name, each in schema["properties"].items()
    )


def _type(schema: dict[str, Any]) -> str:
    match schema:
        case {"$ref": name}:
            return str(name)
        case {"anyOf": kinds}:
            return " | ".join(map(_type, kinds))
        case {"enum": values}:
            return " | ".join(map(json.dumps, values))
        case {"const": value}:
            return json.dumps(value)
        case {"prefixItems": items}:
            return f"[{', '.join(map(_type, items))}]"
        case {"items": item}:
            return f"Array<{_type(item)}>"
        case {"additionalProperties": value}:
            return f"Record<string, {_type(value)}>"
    return PLAIN[schema["type"]]


if __name__ == "__main__":
    PATH.write_text(typescript(), encoding="utf-8")
