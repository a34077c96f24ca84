"""What stands in signatures: array shapes (jaxtyping where it is installed, which the test run checks), and meshes."""

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
