"""Small networks of others' architectures, with weights that do something known."""

import torch
from safetensors.torch import save_file
from spandrel.architectures.Compact import Compact

BRIGHTER = 0.1  # what `brightening` adds


def brightening(path, *, scale=2, by=BRIGHTER):
    """A network that makes a picture larger and brighter and changes nothing else; its file."""
    network = Compact(num_feat=8, num_conv=1, upscale=scale, act_type="prelu")
    with torch.no_grad():
        for weights in network.parameters():
            weights.zero_()
        network.body[-1].bias.fill_(by)
    save_file(network.state_dict(), path)
    return path


def local(path, *, scale=1, seed=0):
    """A network whose answer depends on a few pixels around each; its file."""
    torch.manual_seed(seed)
    network = Compact(num_feat=8, num_conv=2, upscale=scale, act_type="prelu")
    save_file(network.state_dict(), path)
    return path


def colouring(path, *, a=25.0, b=-10.0, gain=8.0):
    """A DDColor whose colours are a + gain * brightness, and b; its file (170 MB)."""
    from spandrel_extra_arches.architectures.DDColor import DDColor

    how = {"num_queries": 4, "dec_layers": 1, "num_output_channels": 2}
    network = DDColor(encoder_name="convnext-t", **how)
    weights = network.state_dict()
    # the last layer sees four channels of the decoder, then the picture less its mean over its
    # deviation; spectral normalisation divides its weights by u W v
    mean, deviation = weights["mean"].flatten(), weights["std"].flatten()
    last = torch.zeros(2, 7)
    last[0, 4:] = gain / 3 * deviation
    weights["refine_net.0.0.weight_orig"] = last[..., None, None]
    weights["refine_net.0.0.weight_u"] = torch.tensor([1.0, 0.0])
    weights["refine_net.0.0.weight_v"] = last[0] / (last[0] @ last[0])
    weights["refine_net.0.0.bias"] = torch.tensor([a + float(gain * mean.mean()), b])
    torch.save({"params": weights}, path)
    return path
