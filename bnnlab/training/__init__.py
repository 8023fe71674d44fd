"""Comparisons: what is trained, how it is trained, and the folder in which everything is kept.

Nothing is imported here, so that the store can be read without loading torch.
"""
