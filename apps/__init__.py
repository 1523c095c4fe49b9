"""Programs: the command line and the live microphone; no algorithms."""
