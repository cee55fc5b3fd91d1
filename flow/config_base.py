"""What all tables of a design point have in common: types of numbers, checks of plug-in ids, and behaviour."""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

from flow.core.plugins import names, suggest

Positive = Annotated[int, Field(gt=0)]
NOT_IN_KEY: dict[str, JsonValue] = {"key": False}


def plugins_of(group: str) -> AfterValidator:
    """Return a check that an id, or each id of several, is a plug-in of a group."""

    def check(given: Any) -> Any:  # noqa: ANN401 - an id, ids, or a table by id
        ids, known = (given,) if isinstance(given, str) else given, names(group)
        wrong = [f"'{i}' is not one of the {group}: {', '.join(known)}.{suggest(i, known)}" for i in ids if i not in known]
        if wrong:
            raise ValueError(" ".join(wrong))
        return given

    return AfterValidator(check)


class Section(BaseModel):
    """Common behaviour of all tables: frozen, nothing unknown, no coercion of text to numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
