"""Where a language may own parameters: SWR and its controls."""
