"""A trained model in the formats of other programs, one module each.

Every module has `write(path, loaded, …)`, which writes the file whole or not at all, and returns
what a person does with the file next, as lines to print.
"""
