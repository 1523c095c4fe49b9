"""Records to tables and pictures: the page of results."""
