"""The parts of mod_proxy: URLs of other servers, which requests go there, how their responses are rewritten."""
