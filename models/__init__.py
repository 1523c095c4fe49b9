"""BC-ResNet: to train it, to listen with it, to export it, and to check that all agree."""
