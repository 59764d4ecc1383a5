"""How Lucene reads text: what WebShop and Search-QA search by."""
