"""Sound: from files to features; knows no network."""
