"""The version of zhuyi. The build takes it from here: to look it up in the installation would delay every command."""

__version__ = "0.2.0.dev0"
