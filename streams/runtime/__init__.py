"""What every process needs and no domain owns: clock, event loop, tasks, signals, HTTP serving, who may ask, files."""
