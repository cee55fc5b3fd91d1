"""`hlscape check MODEL.onnx --data FILE`: the landscape and robustness of a network from elsewhere, as a go/no-go checklist."""
