"""Helpers that know nothing about networks: terminal, memory, progress, configuration of Keras."""
