"""Drop what exporters write for people: stack traces with paths of the machine, which would make equal networks differ."""

import onnx

TITLE = "no stack traces and paths"


def apply(model: onnx.ModelProto) -> int:
    """Return how many nodes, values or graphs carried such text."""
    changed = 0
    graph = model.graph
    for item in (model, graph, *graph.node, *graph.initializer, *graph.value_info, *graph.input, *graph.output):
        if item.doc_string or item.metadata_props:
            item.ClearField("doc_string")
            item.ClearField("metadata_props")
            changed += 1
    return changed
