"""The latent weights: their distribution, and how many stand at the clip wall."""

from bnnlab.training.probes.look import edges, histogram, round_up, sample

BINS = 64


def probe(look):
    """Give `latent`, `latent_edges` and, where a scheme clips, `saturation`: share at the wall."""
    found = {}
    for name, layer in look.lane.layers.items():
        weights = sample(layer.weight)
        reach = round_up(weights.abs().max().item())
        found[f"latent/{name}"] = histogram(weights, -reach, reach, BINS)
        found[f"latent_edges/{name}"] = edges(-reach, reach, BINS)
        clip = layer.scheme.clip
        if clip is not None:
            found[f"saturation/{name}"] = (weights.abs() >= clip).float().mean().item()
    return found
