"""Settings of a site, which are its own: no job can name them."""

import os
import pathlib

from f3ocus_jax.config import parsing, shipped
from f3ocus_jax.deployment.settings import DeployedConfig
from f3ocus_jax.errors import ConfigError

SITE_CONFIG = "F3OCUS_SITE_CONFIG"
"""Environment variable of a site: its config, `FILE[:VARIANT]`; "{site}" stands for its name."""

SITE_FILE = "f3ocus_site.py"
"""Config of a site in the folder `local` of its startup kit, if the variable is not set."""


def site_config(site: str, root: pathlib.Path) -> DeployedConfig:
    """Reads a site's own settings.

    Args:
      site: Name of the site in NVFlare, which `config.deployment.site` gets if it is "".
      root: The site's workspace.

    Raises:
      ConfigError: If there is no config, a setting is impossible, or it is that of another site.
    """
    given = os.environ.get(SITE_CONFIG, "").replace("{site}", site)
    file = root / "local" / SITE_FILE
    if not given and not file.is_file():
        raise ConfigError(f"site {site} has no settings: neither {file} nor ${SITE_CONFIG}")
    raw = shipped.read(given or file)
    raw.deployment.site = raw.deployment.site or site
    config = parsing.parse(DeployedConfig, raw)
    if config.deployment.site != site:
        named = config.deployment.site
        raise ConfigError(f"config.deployment.site is {named}, but NVFlare knows it as {site}")
    return config
