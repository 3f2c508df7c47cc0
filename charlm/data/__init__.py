"""Text in, windows of ids out: units, vocabulary, corpus, lines, batches."""
