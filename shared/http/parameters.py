"""The parameters of a question, checked: what all services do alike."""

import re
from typing import TypeVar

from pydantic import BaseModel, BeforeValidator, ValidationError
from pydantic_core import PydanticCustomError
from werkzeug.datastructures import MultiDict

from shared.contract.validation import problems
from shared.domain.errors import InvalidInput, Problem

_DIGITS = re.compile(r"-?\d+", re.ASCII)


def _whole_number(text: object) -> object:
    """Take digits alone: pydantic would take `1_0` and `1.0` too."""
    if isinstance(text, str) and not _DIGITS.fullmatch(text):
        raise PydanticCustomError("whole_number", "should be a whole number")
    return text


DIGITS = BeforeValidator(_whole_number)
"""Goes after what else an integer has to keep: `Annotated[int, Field(ge=0), DIGITS]`."""
Parameters = TypeVar("Parameters", bound=BaseModel)


def parse(model: type[Parameters], arguments: MultiDict[str, str]) -> Parameters:
    """Check the arguments of a request.

    Raises:
        InvalidInput: naming every parameter that is wrong, missing, unknown or given twice.

    """
    twice = [Problem(name, "is given more than once") for name, values in arguments.lists() if len(values) > 1]
    found: tuple[Problem, ...] = ()
    try:
        parsed = model.model_validate(arguments.to_dict())
    except ValidationError as error:
        found = problems(error)
    else:
        if not twice:
            return parsed
    raise InvalidInput("the parameters are not valid", (*twice, *found))
