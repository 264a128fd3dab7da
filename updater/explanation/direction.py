"""The direction along which a downstream model reads an embedding, out of a file."""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt

from updater.errors import ConfigError

Float64 = npt.NDArray[np.float64]
NPY = b"\x93NUMPY"


def read_direction(path: str, width: int) -> Float64:
    """Coefficients for the columns of one embedding, shape (width,), from a `.npy` file or a JSON list.

    A single row of a table of coefficients, such as scikit-learn's `coef_` of two classes, is taken too. Nothing in
    the file is executed.

    Raises:
        ConfigError: the file cannot be read, or does not hold `width` finite numbers.
    """
    try:
        with Path(path).open("rb") as file:
            begins = file.read(len(NPY))
        if begins == NPY:
            values = np.load(path, allow_pickle=False)
        else:
            values = np.array(json.loads(Path(path).read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror or error}); name another file.") from None
    except ValueError:
        raise ConfigError(
            f"{path} is neither a NumPy array nor a JSON list of numbers; write the coefficients of one scenario's "
            "columns with numpy.save."
        ) from None
    return check_direction(values, width, path)


def check_direction(values: npt.NDArray[np.generic], width: int, name: str) -> Float64:
    """`values` as a direction of `width` numbers. Raises ConfigError for anything else."""
    if values.dtype.kind not in "fiu" or values.shape not in ((width,), (1, width)):
        raise ConfigError(
            f"{name} has {values.dtype} of shape {values.shape}; a scenario's embedding needs {width} numbers, in the "
            "order of its columns."
        )
    direction: Float64 = values.reshape(-1).astype(np.float64)
    if not np.isfinite(direction).all() or not direction.any():
        raise ConfigError(f"{name} points nowhere: its numbers are all zero, or not all finite.")
    return direction
