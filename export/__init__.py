"""Model to ONNX to bundle to image."""
