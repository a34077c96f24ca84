"""Types that the params of several stages share."""

from typing import Annotated

from pydantic import ConfigDict, Field

# Strict: "3" is not a number and true is not a count. An int is accepted for a float.
STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

Seed = Annotated[int, Field(ge=0, lt=2**31)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Count = Annotated[int, Field(ge=1)]
# Names become file names and DVC stage names, so only these characters are allowed.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
Names = tuple[Name, ...]
