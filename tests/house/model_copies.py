"""A mypy plugin: what `model_copy(update=…)` sets are fields of the model, of their types.

Pydantic takes any dictionary there, so a misspelt field would be set and never read. Here the
parameter is a TypedDict of the model's fields; a dictionary that is no literal does not fit it.
"""

from __future__ import annotations

from collections.abc import Callable

from mypy.nodes import Var
from mypy.plugin import MethodSigContext, Plugin
from mypy.types import (
    FunctionLike,
    Instance,
    NoneType,
    Type,
    TypedDictType,
    TypeVarType,
    UnionType,
    get_proper_type,
)


class ModelCopies(Plugin):
    """Looks at calls of `BaseModel.model_copy`."""

    def get_method_signature_hook(
        self, fullname: str
    ) -> Callable[[MethodSigContext], FunctionLike] | None:
        """Take those calls, whichever model they are made on."""
        return _of_fields if fullname.endswith(".model_copy") else None


def _of_fields(call: MethodSigContext) -> FunctionLike:
    signature, model = call.default_signature, get_proper_type(call.type)
    if isinstance(model, TypeVarType):
        model = get_proper_type(model.upper_bound)
    if not isinstance(model, Instance) or "update" not in signature.arg_names:
        return signature
    fields = {
        name: symbol.node.type
        for info in reversed(model.type.mro)
        for name, symbol in info.names.items()
        if isinstance(symbol.node, Var) and symbol.node.type and not symbol.node.is_classvar
        if not name.startswith(("_", "model_"))
    }
    fallback = call.api.named_generic_type("typing._TypedDict", [])
    update: Type = UnionType([TypedDictType(fields, set(), set(), fallback), NoneType()])
    place = signature.arg_names.index("update")
    types = [update if at == place else each for at, each in enumerate(signature.arg_types)]
    return signature.copy_modified(arg_types=types)


def plugin(_: str) -> type[Plugin]:
    """What mypy asks for."""
    return ModelCopies
