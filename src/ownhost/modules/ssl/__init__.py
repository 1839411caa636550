"""mod_ssl's directives, without its hook into requests (modules.mod_ssl), and what is made of them."""
