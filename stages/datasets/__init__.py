"""The registry of labelled data sets and instruction sets, and how their rows become tables."""
