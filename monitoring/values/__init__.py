"""The nouns that are never saved: frozen values without a query."""
