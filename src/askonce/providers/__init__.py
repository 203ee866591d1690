"""Vendors: how they are reached, asked, counted and priced. Adapters of the `Provider` port and the catalog's rows."""
