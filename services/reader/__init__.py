"""Reader: the notes to look at, as JSON and on one page."""
