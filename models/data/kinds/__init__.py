"""One file per dataset kind, each with a ``KIND``; found by :class:`models.catalog.Catalog`."""
