"""`candor compare-logits`: compares a model's logits with reference logits from a file."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from stages.core.errors import UserError

_KEYS = ("tokens", "lengths", "logits")


def compare_logits(
    model: Annotated[str, typer.Argument(help="A registry name, a model folder or a .gguf file.")],
    expected: Annotated[Path, typer.Option(help="An .npz file with tokens [B,T], lengths [B] and logits [B,T,V].")],
    tolerance: Annotated[float, typer.Option(help="The largest difference that passes.")] = 1e-4,
) -> None:
    """Prints the largest difference of MODEL's float32 logits from a reference; exit status 1 above the tolerance.

    All positions up to each row's length are compared.
    """
    reference = _read(expected)
    from stages.lm.planning.parity import largest_difference
    from stages.zoo.resolve import model_folder

    largest = largest_difference(model_folder(model), reference["tokens"], reference["lengths"], reference["logits"])
    verdict = "within" if largest.size <= tolerance else "above"
    print(
        f"largest difference {largest.size:.3g} at row {largest.row}, position {largest.position}, token "
        f"{largest.token}: expected {largest.expected:.6f}, found {largest.found:.6f}; {verdict} the tolerance of "
        f"{tolerance:g}"
    )
    if largest.size > tolerance:
        raise SystemExit(1)


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            reference = {key: arrays[key] for key in _KEYS if key in arrays}
    except FileNotFoundError:
        raise UserError(f"{path} does not exist") from None
    except (ValueError, OSError, EOFError) as error:
        raise UserError(f"{path} is not an .npz file of plain arrays ({error})") from None
    missing = [key for key in _KEYS if key not in reference]
    if missing:
        raise UserError(f"{path} lacks {', '.join(missing)}; it should hold {', '.join(_KEYS)}")
    shapes = {key: array.shape for key, array in reference.items()}
    if (
        len(shapes["logits"]) != 3
        or shapes["logits"][:2] != shapes["tokens"]
        or shapes["lengths"] != shapes["tokens"][:1]
    ):
        raise UserError(f"{path}: the shapes {shapes} do not fit tokens [B,T], lengths [B] and logits [B,T,V]")
    return reference
