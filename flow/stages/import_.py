"""Stage ``import``: a QONNX file and a data file from elsewhere, in the place of data, training and export."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from flow.config import DesignPoint
from flow.core.stage import Job, Stage

REMEDY = "Prepare the inputs as for its training, and give the targets in the order and the units of its outputs."

if TYPE_CHECKING:
    from flow.gate import Values
    from flow.imported.tasks import Targets
    from flow.model import Array, Dataset
    from flow.twin import Twin


def sources(point: DesignPoint) -> Mapping[str, Path]:
    """Return the two files, by content: moved files change nothing."""
    return {"onnx": Path(point.onnx), "data": Path(point.data.path or "")}


def _evaluate(twin: "Twin", x: "Array | Values") -> "Values":
    """Return the outputs (N, ...) for inputs (N, ...)."""
    import numpy as np
    import torch

    with torch.no_grad():
        outputs = [twin(twin.params, rows) for rows in torch.split(torch.from_numpy(x), 1024)]
    return np.asarray(torch.cat(outputs), np.float64)


def _flat(y: "Values") -> "Values":
    """Return outputs (N, ...) in the order of the words of the hardware, channels last, (N, M)."""
    from flow.gate import channels_last

    return channels_last(y).reshape(len(y), -1)


def _write_network(job: Job, path: Path) -> int:
    """Write the repaired file, approximated if that is allowed, and return how many places were approximated.

    Raises:
        InvalidInput: it cannot be used; the message names the layer and says what to do.
    """
    import onnx
    from onnx import external_data_helper

    from flow.core.errors import InvalidInput
    from flow.quant.approximate import approximate
    from flow.quant.repairs import rounding_names, strip_metadata
    from flow.twin import load_twin

    allowed = job.point.network.allow_approximate
    load_twin(path, approximate=allowed)
    model = onnx.load(str(path), load_external_data=False)
    if any(external_data_helper.uses_external_data(tensor) for tensor in model.graph.initializer):
        raise InvalidInput(f"{path}: some tensors lie in other files. Save it as one file: onnx.save_model(onnx.load(...), ...).")
    changed = approximate(model) if allowed else 0
    for repair in (rounding_names, strip_metadata):
        repair.apply(model)
    onnx.save_model(model, str(job.output("qonnx")))
    return changed


def _read_data(job: Job, path: Path, twin: "Twin") -> "Dataset":
    """Read the samples, all of them test samples, since nothing is trained; a file in the order of its classes is shuffled."""
    import numpy as np

    from flow.imported.files import read_arrays, read_inputs, read_targets
    from flow.imported.tasks import TASKS
    from flow.model import Dataset

    x, y = read_arrays(path)
    inputs = read_inputs(path, x, twin.input_shape)
    shape = _evaluate(twin, inputs[:1]).shape[1:]
    targets: Targets
    targets, wanted = read_targets(path, y, shape)
    kept = job.rng(job.point.data.seed, "samples").permutation(len(x))[: job.point.data.samples]
    inputs = inputs[kept]
    outputs = _evaluate(twin, inputs).astype(np.float32) if wanted is None else wanted[kept]
    codes = inputs.astype(np.float64) / twin.input_format.scale
    outside = (codes < twin.input_format.low - 0.5) | (codes > twin.input_format.high + 1)  # the last word ends where the next would begin
    title = "test samples with an input beyond the range of the input words"
    job.measure("samples_clipped", outside.reshape(len(inputs), -1).any(axis=1).sum(), "samples", title=title)
    job.measure("samples_test", len(inputs), "samples", title="test samples")
    notes: dict[str, int | float | str] = {
        "rows_read": len(x), "kept": len(kept), "targets": targets, "compared_with": TASKS[targets].words,
    }  # fmt: skip
    x_parts, y_parts = ({"train": part[:0], "validation": part[:0], "test": part} for part in (inputs, outputs))
    return Dataset(x_parts, y_parts, notes)


def _confirm(job: Job, twin: "Twin", x: "Values", expected: "Values") -> None:
    """Compare the twin with a second execution of the file.

    Raises:
        MismatchError: with the first layer, sample and values that differ.
    """
    import torch

    from flow import gate
    from flow.imported.execute import execute, execute_layers

    count = min(job.point.gate.rtl_samples, len(x))
    job.progress(0.4, f"{count} samples")
    got = _flat(execute(job.output("qonnx"), x[:count]))
    wrong, where = gate.mismatches(expected[:count], got)
    job.measure("gate_twin_mismatches", wrong, "samples", direction="lower", title="twin against onnx's evaluator: samples that differ")
    job.measure("gate_twin_samples", count, "samples", title="twin against onnx's evaluator: samples compared")
    if where is not None:
        sample = x[where[0]]
        with torch.no_grad():
            layers = {name: v.double().numpy() for name, v in twin.layers(twin.params, torch.from_numpy(sample[None])).items()}
        layer = gate.first_layer(layers, execute_layers(job.output("qonnx"), sample)) or "output"
        raise gate.report("twin", "onnx", expected[:count], got, layer, where, wrong)


def _measure_approximation(job: Job, path: Path, data: "Dataset", output: "Values") -> None:
    """Measure what the approximation changed, against the network of the file in float64."""
    import numpy as np

    from flow.statistics import mean_interval
    from flow.twin import load_twin

    original = _evaluate(load_twin(path, approximate=True), data.x["test"])
    error = (output - original).reshape(len(output), -1)
    if data.notes["targets"] == "classes":
        changed, what = output.argmax(axis=1) != original.argmax(axis=1), "samples whose class it changes"
    else:
        changed, what = (error != 0).mean(axis=1), "output words that it changes"
    source = f"{len(error)} test samples"
    square, (low, high) = mean_interval(np.square(error).mean(axis=1))
    ci = (max(low, 0.0) ** 0.5, high**0.5)
    job.measure("approximation_max_error", np.abs(error).max(), source=source, title="approximation: largest error of an output")
    job.measure("approximation_rms_error", square**0.5, ci=ci, source=source, title="approximation: root mean square error")
    share, ci = mean_interval(changed.astype(np.float64))
    job.measure("approximation_changed_fraction", share, ci=ci, source=source, title=f"approximation: fraction of {what}")


def run(job: Job) -> None:
    """Check the files, confirm what the network computes, and score it.

    Raises:
        InvalidInput: a file cannot be used.
        MismatchError: the twin and the reference evaluator differ.
        NotTrained: the network is no better than a constant output.
    """
    import numpy as np
    import torch

    from flow import gate
    from flow.imported.tasks import task_of
    from flow.model import Dataset
    from flow.quant.evaluate import measure_score
    from flow.stages.data import write_dataset
    from flow.twin import load_twin

    torch.set_num_threads(1)
    files, seed = sources(job.full_point), job.point.data.seed
    approximated = _write_network(job, files["onnx"])
    twin = load_twin(job.output("qonnx"))
    data = _read_data(job, files["data"], twin)
    write_dataset(job.output("dataset"), data)
    torch.save({}, job.output("head"))
    x = gate.vectors(data.x["test"], job.point.gate.samples, twin.input_format, job.rng(seed, "vectors"))
    expected = _flat(_evaluate(twin, x))
    _confirm(job, twin, x, expected)
    with job.output("vectors").open("wb") as stream:
        np.savez(stream, x=x, y=expected)
    output = _evaluate(twin, data.x["test"])
    if approximated:
        _measure_approximation(job, files["onnx"], data, output)
    if data.notes["targets"] != "none":
        # The best constant is found on the test samples themselves, there are no others: that can only favour it.
        scored = Dataset(data.x, {**data.y, "train": data.y["test"]})
        measure_score(job, task_of(data.notes).score, scored, output.astype(np.float32), job.rng(seed, "score"), REMEDY)


STAGE = Stage(
    "import", run, writes=("dataset", "qonnx", "head", "vectors"),
    measures=("samples_*", "gate_twin_*", "approximation_*", "accuracy*", "cross_entropy", "mse*"),
    config=("network.allow_approximate", "data", "gate.samples", "gate.rtl_samples"),
    packages=("torch", "onnx", "qonnx", "numpy", "scipy"), sources=sources, seconds=6,
)  # fmt: skip
