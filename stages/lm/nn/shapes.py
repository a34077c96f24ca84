"""Types for signatures: array shapes and meshes. Shapes use jaxtyping if it is installed; the test run checks them."""

from typing import TYPE_CHECKING, Any

from jax import Array
from jax.sharding import Mesh

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
else:
    try:
        from jaxtyping import Bool, Float, Int
    except ModuleNotFoundError:

        class _Unchecked:
            def __class_getitem__(cls, shape: Any) -> type:
                return Array

        Bool = Float = Int = _Unchecked

__all__ = ["Array", "Bool", "Float", "Int", "Mesh"]
