"""Explanations of whole data sets: read, run and written in a stream, by threads, processes or a cluster."""
