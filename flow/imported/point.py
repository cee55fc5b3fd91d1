"""What a design point of an imported network must and must not have."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flow.config import DesignPoint


def check_point(point: "DesignPoint") -> "DesignPoint":
    """Return a point, unless it has no data file, or settings of a training that does not take place.

    Raises:
        ValueError: pydantic turns it into a mistake of the point.
    """
    if not point.onnx:
        return point
    if not point.data.path:
        raise ValueError("onnx needs data.path (--data FILE): .npz with inputs x and targets y, or .npy with inputs")
    idle = sorted({"seed", "train", "pruning", "regularizers"} & point.model_fields_set)
    idle += sorted(f"network.{key}" for key in point.network.model_fields_set - {"allow_approximate"})
    idle += ["data.split"] * ("split" in point.data.model_fields_set)
    if idle:
        raise ValueError(f"{', '.join(idle)}: no effect on an imported network, which is trained and has its own widths. Leave it out")
    return point
