"""What mod_proxy is made of: URLs of other servers, which requests go there, how their responses are made ours."""
