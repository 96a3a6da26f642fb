"""The nouns that are never saved: values without a query, frozen unless they say why not."""
