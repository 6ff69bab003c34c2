"""Secure aggregation: the server learns sums over the sites of a layer, no site's own update.

The protocol is that of Bonawitz et al. (2017), with masks of every layer's own: see `roster` for
who shares what, `participant` for a site's half, `unmasking` for the server's.
"""
