"""mod_ssl's directives, apart from the hook into requests (modules.mod_ssl): what they say, and what is made of it."""
