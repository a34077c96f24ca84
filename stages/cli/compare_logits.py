"""`candor compare-logits`: a model's logits against a reference."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from stages.core.errors import UserError

_KEYS = ("tokens", "lengths", "logits")


def compare_logits(
    model: Annotated[str, typer.Argument(help="A registry name, a model folder or a .gguf file.")],
    expected: Annotated[Path, typer.Option(help="An .npz file with tokens [B,T], lengths [B] and logits [B,T,V].")],
    tolerance: Annotated[float, typer.Option(help="Largest difference that passes.")] = 1e-4,
) -> None:
    """Compares MODEL's float32 logits with a reference on every valid position; exit status 1 above the tolerance."""
    reference = _read(expected)
    from stages.lm.planning.parity import largest_difference
    from stages.zoo.resolve import model_folder

    found = largest_difference(model_folder(model), reference["tokens"], reference["lengths"], reference["logits"])
    verdict = "within" if found.size <= tolerance else "above"
    print(
        f"largest difference {found.size:.3g} at row {found.row}, position {found.position}, token {found.token}: "
        f"expected {found.expected:.6f}, found {found.found:.6f}; {verdict} the tolerance of {tolerance:g}"
    )
    if found.size > tolerance:
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
