"""A study: many training runs out of one TOML file, one small result file each, and a page about them."""
