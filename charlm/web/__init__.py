"""Web pages: what the pages of a model share, and a text as HTML."""
