"""Networks by name, and one's own by ``package.module:function``."""
