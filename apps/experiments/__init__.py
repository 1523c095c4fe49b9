"""Grids of runs: their files, doing them, and the record that each leaves."""
