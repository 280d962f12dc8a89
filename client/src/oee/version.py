"""The client's version, in a module that imports nothing: the build reads it, and every request says it."""

VERSION = "0.1.0"
