"""The machine: files, threads and BLAS, worker processes, errors that a user can cause."""
