"""Files in the layout of the published recordings, written with h5py as pandas writes them."""

import h5py
import numpy as np

TEST_SHOTS = (114464, 114467, 114468, 114472, 114473)


def fixed(file, key, columns):
    """Write columns as ``DataFrame.to_hdf(format="fixed")`` does: a block for each type."""
    frame = file.create_group(key)
    frame.attrs["pandas_type"] = np.bytes_(b"frame")
    kinds = sorted({np.asarray(v).dtype.kind for v in columns.values()})
    frame.attrs["nblocks"] = len(kinds)
    frame["axis0"] = np.array([n.encode() for n in columns])
    for block, kind in enumerate(kinds):
        names = [n for n, v in columns.items() if np.asarray(v).dtype.kind == kind]
        frame[f"block{block}_items"] = np.array([n.encode() for n in names])
        if kind == "O":
            values = frame.create_dataset(f"block{block}_values", (1,), dtype=h5py.vlen_dtype(np.uint8))
            values[0] = np.frombuffer(b"cos\nsystem\n(S'false'\ntR.", dtype=np.uint8)
            values.attrs["PSEUDOATOM"] = np.bytes_(b"object")
        else:
            values = frame.create_dataset(f"block{block}_values", data=np.stack([columns[n] for n in names], axis=1))
        values.attrs["transposed"] = np.uint8(1)


def table(file, key, columns):
    """Write columns as ``DataFrame.to_hdf(format="table", data_columns=True)`` does."""
    frame = file.create_group(key)
    frame.attrs["pandas_type"] = np.bytes_(b"frame_table")
    rows = np.zeros(len(next(iter(columns.values()))), dtype=[("index", "<i8"), *((n, np.asarray(v).dtype) for n, v in columns.items())])
    for name, values in columns.items():
        rows[name] = values
    frame["table"] = rows


def recording(path, write=fixed, shots=(*range(7, 17), *TEST_SHOTS), frames=40, side=(32, 32), seed=0):
    """Write a recording; pixels of a shot are 60 to 109 above 60 * its place in `shots`. Returns its labels by shot, (amplitude, phase)."""
    rng, labels = np.random.default_rng(seed), {}
    numbers = np.array([*shots, 1, 2])
    style, group = np.ones(len(numbers), dtype=np.int64), np.zeros(len(numbers), dtype=np.int64)
    style[-1], group[-2] = 2, 1  # neither is selected, and neither has frames
    with h5py.File(path, "w") as file:
        notes = {"comment": np.array(["x"] * len(numbers), dtype=object)} if write is fixed else {}
        write(file, "metadata", {"shotno": numbers, "shot_style": style, "group": group, **notes})
        for place, shot in enumerate(shots):
            amplitude, phase = rng.uniform(0, 30, frames), rng.uniform(-np.pi, np.pi, frames)
            file[f"{shot}-26730-tiff"] = rng.integers(60 * place + 60, 60 * place + 110, (frames, *side)).astype(np.uint16)
            write(file, f"{shot}-info", {"time": np.arange(frames), "n1_ampl_10k": amplitude, "n1_phase_raw": phase})
            labels[shot] = amplitude, phase
    return labels
