"""What Unpool is measured with: run each part from the repository's root as `python -m benchmarks.NAME`."""
