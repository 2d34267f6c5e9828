"""What came of it: outcomes and instances summed up, as tables, JSON and a picture."""
