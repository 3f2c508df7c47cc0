"""The machine: files, threads and BLAS, worker processes."""
