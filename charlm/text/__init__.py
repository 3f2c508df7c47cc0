"""Text in, windows of ids out: units, vocabulary, corpus, batches."""
