"""Apache with mpm_itk as the oracle: what it answers to a configuration and requests is what Ownhost should."""
