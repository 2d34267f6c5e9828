"""Online models that a worker runs, and the kernels they share; what only experiments run is lab's."""
