"""Recordings to a trained network, how good it is, and the folder that holds it."""
