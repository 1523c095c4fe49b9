"""Hours of sound to false accepts and misses: what calibration and stream evaluation share."""
