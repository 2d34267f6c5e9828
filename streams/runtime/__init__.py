"""What every process needs and no domain owns: clock, event loop, tasks, addresses, HTTP serving, files."""
