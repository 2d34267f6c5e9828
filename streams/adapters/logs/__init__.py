"""Request logs in files, read as requests; the program's own logging stays out."""
