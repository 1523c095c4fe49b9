"""BC-ResNet: to train it, to listen with it, to export it, and to check that all agree."""

import os

# ONNX Runtime reports its use to its maker unless this is set before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
