"""Types that several stages' knobs share."""

from typing import Annotated

from pydantic import ConfigDict, Field

# Strict: "3" is no number and true is no count. An int is fine where a float is wanted.
STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

Seed = Annotated[int, Field(ge=0, lt=2**31)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Count = Annotated[int, Field(ge=1)]
# Names become file names and DVC stage names, hence the narrow alphabet.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
Names = tuple[Name, ...]
