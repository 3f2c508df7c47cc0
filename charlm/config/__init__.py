"""The configuration: keys, YAML files, and the objects they describe."""
