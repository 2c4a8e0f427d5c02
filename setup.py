"""Packaging of odn_keras: everything is declared in pyproject.toml."""

from setuptools import setup

setup()
