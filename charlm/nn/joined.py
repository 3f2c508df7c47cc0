"""Several networks as one network, which is as wide as all of them together.

The networks have the same cell, layers and vocabulary. In the joined network the hidden units of all lie
side by side in each layer, and no weight leads from one to another::

    h = (h_1, …, h_M)
    Wx = (Wx_1, …, Wx_M) of the first layer, which all read alike;  b = (b_1, …, b_M)
    Wx = diag(Wx_1, …, Wx_M) of a layer above;  Wh = diag(Wh_1, …, Wh_M)
    logits = scale Σ_m logits_m

With `scale` 1/M, softmax(logits) is the geometric mean of the p_m, normalised.

This is a logarithmic opinion pool: its loss is the mean loss, less the mean divergence of the p_m from the
pool (Heskes 1998).
"""

from collections.abc import Mapping, Sequence

from charlm.arrays import Shape
from charlm.nn.model import OUTPUT
from charlm.nn.parameters import Parameters, Params


def joined(networks: Sequence[Params], shapes: Mapping[str, Shape], scale: float) -> Parameters:
    """The parameters of the network of the given `shapes` whose logits are `scale` times the sum of all.

    The `networks` may differ in their number of hidden units only.
    """
    whole = Parameters(shapes, networks[0][f"{OUTPUT}.W"].dtype)
    start = 0
    for network in networks:
        units = slice(start, start + len(network[f"{OUTPUT}.W"]))
        for name, own in network.items():
            # an axis of hidden units is longer in the joined network; the others are not
            axes = zip(own.shape, whole[name].shape, strict=True)
            block = tuple(slice(None) if size == longer else units for size, longer in axes)
            whole[name][block] += scale * own if name.startswith(f"{OUTPUT}.") else own
        start = units.stop
    return whole
