"""What the figures in docs/ were measured with: a program for each, `python -m benchmarks.NAME`."""
