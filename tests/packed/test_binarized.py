"""Networks that somebody else built, binarized and packed."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import bnnlab
from bnnlab import schemes
from bnnlab.nn import Activation, BinarizedLinear, anneal
from bnnlab.packed import NotPackable
from bnnlab.packed.stages import Affine, Thresholds

SHAPE = (2, 12, 11)


class Functional(nn.Module):
    """As tutorials have it: everything in `forward`."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(2, 6, 3), nn.Conv2d(6, 8, 3, padding=1, stride=(2, 1))
        self.drop = nn.Dropout2d()
        self.fc1, self.fc2 = nn.Linear(8 * 3 * 4, 20), nn.Linear(20, 5)

    def forward(self, x):
        x = F.hardtanh(F.max_pool2d(self.conv1(x), 2))
        x = self.drop(self.conv2(x)).relu()
        x = x.view(x.size(0), -1)
        x = F.dropout(torch.relu(self.fc1(x)), 0.3, training=self.training)
        return self.fc2(x)


class Nested(nn.Module):
    """Two sequences and a flattening between them."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(2, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(),
            nn.Conv2d(6, 20, 3), nn.MaxPool2d(2), nn.BatchNorm2d(20), nn.Hardtanh(),
            nn.Conv2d(20, 8, (2, 3), padding=(1, 0)), nn.BatchNorm2d(8), nn.MaxPool2d((2, 1)),
            nn.ReLU(inplace=True), nn.Dropout(0.1),
        )  # fmt: skip
        self.classifier = nn.Sequential(
            nn.Linear(8 * 3 * 2, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Linear(16, 5)
        )

    def forward(self, x):
        return self.classifier(torch.flatten(self.features(x), 1))


def one_sequence():
    """The same as one sequence: schemes that binarize activations find them there alone."""
    nested = Nested()
    return nn.Sequential(*nested.features, nn.Flatten(), *nested.classifier)


def plain():
    return nn.Sequential(
        nn.Flatten(), nn.Linear(264, 33), nn.BatchNorm1d(33, affine=False), nn.Hardtanh(),
        nn.Dropout(), nn.Linear(33, 17, bias=False), nn.BatchNorm1d(17), nn.Tanh(),
        nn.Identity(), nn.Linear(17, 5), nn.BatchNorm1d(5),
    )  # fmt: skip


@torch.no_grad()
def trained(model, seed=0):
    """A network as training might leave it: batch norm weights of either sign, some zero."""
    generator = torch.Generator().manual_seed(seed)
    anneal(model, 1.0)
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
            parameter[::7] = 0
        else:
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
    model.train()
    for _ in range(20):
        model(draw(64, generator))
    return model.eval()


def draw(samples, generator):
    return (torch.randint(0, 17, (samples, *SHAPE), generator=generator) - 8).float() / 8


def check(model, x, tmp_path, shape=SHAPE):
    packed = bnnlab.pack(model, shape)
    with torch.no_grad():
        expected = model(x)
    scores = packed(x.flatten(1))
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))
    assert torch.equal(scores.argmax(1), expected.argmax(1))
    packed.save(tmp_path / "packed.safetensors")
    loaded = bnnlab.load_packed(tmp_path / "packed.safetensors")
    assert repr(loaded) == repr(packed) and torch.equal(loaded(x.flatten(1)), scores)
    return packed


WEIGHTS_ONLY = [n for n, kind in schemes.kinds().items() if kind().activation_estimator is None]
OTHERS = (nn.Tanh,)  # activations that packed networks have not


def with_relu(model, which):
    """The network with ReLU in the place of some of these activations."""
    found = [
        (parent, name)
        for parent in model.modules()
        for name, child in parent.named_children()
        if isinstance(child, OTHERS)
    ]
    for parent, name in found[which]:
        setattr(parent, name, nn.ReLU())
    return model


@pytest.mark.parametrize("ends", ["paper", "binarized"])
@pytest.mark.parametrize("scheme", schemes.names())
def test_sequences_are_packed_under_every_scheme(tmp_path, scheme, ends):
    x = draw(50, torch.Generator().manual_seed(1))
    for build in (plain, one_sequence):
        # Where a scheme leaves an activation to the network, it is one that packed networks have.
        model = with_relu(build(), slice(None) if scheme in WEIGHTS_ONLY else slice(-1, None))
        model = trained(bnnlab.binarize(model, scheme, first_and_last=ends))
        check(model, x, tmp_path)


@pytest.mark.parametrize("scheme", ["binary_connect", "lab", "twn", "full_precision", "bwn"])
def test_functions_in_forward_are_followed(tmp_path, scheme):
    model = trained(bnnlab.binarize(Functional(), scheme, first_and_last="binarized"))
    packed = check(model, draw(50, torch.Generator().manual_seed(1)), tmp_path)
    assert [layer.name for layer in packed.layers] == ["conv1", "conv2", "fc1", "fc2"]
    assert packed.layers[0].pool == (2, 2) and not packed.layers[0].pool_last


def test_layers_are_named_and_bits_run_between_them():
    nested = trained(bnnlab.binarize(with_relu(Nested(), slice(None)), "lab"))
    assert [layer.name for layer in bnnlab.pack(nested, SHAPE).layers] == [
        "features_0", "features_3", "features_7", "classifier_0", "classifier_3",
    ]  # fmt: skip
    packed = bnnlab.pack(trained(bnnlab.binarize(one_sequence(), "bnn")), SHAPE)
    assert all(isinstance(layer.after, Thresholds) for layer in packed.layers[:-1])
    assert isinstance(packed.layers[-1].after, Affine)
    assert [layer.pool_last for layer in packed.layers] == [False, False, True, False, False]
    *hidden, _ = packed.hidden(draw(9, torch.Generator().manual_seed(2)).flatten(1)).values()
    assert all(set(np.unique(values)) <= {-1.0, 1.0} for values in hidden)


def test_the_network_stays_as_it_is_and_a_plain_one_knows_its_shape():
    model = bnnlab.binarize(
        nn.Sequential(nn.Linear(9, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)), "bnn"
    )
    model.train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    packed = bnnlab.pack(model)
    assert packed.shape == (9,) and model.training and model[1].training
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    with pytest.raises(ValueError, match=r"pack\(model, shape=\(2, height, width\)\)"):
        bnnlab.pack(bnnlab.binarize(Functional(), "lab"))
    with pytest.raises(ValueError, match=r"\(channels, height, width\)"):
        bnnlab.pack(bnnlab.binarize(Functional(), "lab"), (3,))


def test_a_single_layer_is_packed():
    layer = bnnlab.binarize(nn.Linear(40, 3), "lab")
    assert isinstance(layer, BinarizedLinear)
    x = draw(10, torch.Generator().manual_seed(0)).flatten(1)[:, :40]
    with torch.no_grad():
        torch.testing.assert_close(bnnlab.pack(layer)(x), layer.eval()(x))


class Branched(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 3)
        self.act, self.act2 = nn.ReLU(), nn.ReLU()

    def forward(self, x):
        x = self.act(self.first(x))
        return self.last(self.act2(x + self.second(x)))


class Asking(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(8, 3)

    def forward(self, x):
        return self.first(x) if x.sum() > 0 else x


def sequence(*between, last=()):
    return nn.Sequential(nn.Linear(8, 8), *between, nn.Linear(8, 3), *last)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (Branched(), "add takes 2 values.*without branches"),
        (Asking(), "Asking: the order of its layers cannot be followed"),
        (sequence(nn.ReLU(), nn.BatchNorm1d(8)), r"2 \(BatchNorm1d\) stands after the activation"),
        (sequence(), "no activation follows 0"),
        (sequence(nn.BatchNorm1d(8)), "no activation follows 0"),
        (sequence(nn.GELU()), "1 is a GELU; the kernels have no such step"),
        (sequence(nn.ReLU(), nn.ReLU()), r"2 \(ReLU\) follows 1 \(ReLU\)"),
        (sequence(nn.ReLU(), last=[nn.Softmax(1)]), "3 is a Softmax; leave it out"),
        (sequence(nn.ReLU(), last=[nn.ReLU()]), r"3 \(ReLU\) stands after the last layer, 2"),
        (sequence(nn.BatchNorm1d(8, track_running_stats=False), nn.ReLU()),
         "1: batch norm without running statistics"),
        (nn.Sequential(nn.ReLU(), nn.Linear(8, 3)), r"0 \(ReLU\) stands before the first layer"),
        (nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Linear(9, 3)), "flatten it before"),
        (nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(9, 3)),
         "3 takes 9 features, not 270"),
        (nn.Sequential(nn.Conv2d(2, 3, 3), nn.AvgPool2d(2), nn.ReLU(), nn.Flatten(),
                       nn.Linear(60, 3)), "1 is a AvgPool2d"),
        (nn.Sequential(nn.Conv2d(2, 3, 3), nn.MaxPool2d(3, 2), nn.ReLU(), nn.Flatten(),
                       nn.Linear(60, 3)), "pixels that do not overlap"),
        (nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.BatchNorm1d(270), nn.ReLU(),
                       nn.Linear(270, 3)), "behind a flattened image"),
        (nn.Sequential(nn.Conv2d(2, 3, 3)), "a convolution; scores come of a dense one"),
        (nn.Sequential(nn.Conv2d(3, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(9, 3)),
         "0 takes 3 channels, not 2"),
        (nn.Sequential(nn.Conv2d(2, 3, 13), nn.ReLU(), nn.Flatten(), nn.Linear(9, 3)),
         "too small"),
    ],
)  # fmt: skip
def test_what_is_not_packable_is_named(model, said):
    convolves = any(isinstance(module, nn.Conv2d) for module in model.modules())
    model = bnnlab.binarize(model, "lab", first_and_last="binarized")
    with pytest.raises(NotPackable, match=said):
        bnnlab.pack(model, SHAPE if convolves else None)


def test_networks_without_schemes_and_lstms_are_refused_in_words():
    with pytest.raises(NotPackable, match=r"0 is a Linear; it carries no scheme \(bnnlab.binarize"):
        bnnlab.pack(sequence(nn.ReLU()))
    with pytest.raises(NotPackable, match=r"bnnlab.binarize swaps its layers"):
        bnnlab.pack(nn.Sequential(nn.Flatten()))
    lstm = bnnlab.binarize(nn.Sequential(nn.LSTM(8, 8)), "lab")
    with pytest.raises(NotPackable, match=r"0 is a BinarizedLSTM; .* takes symbols"):
        bnnlab.pack(lstm)


def test_a_layer_must_be_fed_by_its_own_activation():
    model = bnnlab.binarize(sequence(nn.ReLU()), "bnn", first_and_last="binarized")
    assert isinstance(model[1], Activation)
    model[1] = nn.ReLU()
    with pytest.raises(NotPackable, match="2 is not fed by the activation of its scheme, bnn"):
        bnnlab.pack(model)
    model = bnnlab.binarize(
        nn.Sequential(nn.Conv2d(2, 3, 3), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(),
                      nn.Linear(60, 3)), "bitnet", first_and_last="binarized",
    )  # fmt: skip
    bnnlab.pack(model, SHAPE)  # nine pixels across, of which pooling leaves one out
    model[1], model[2] = nn.BatchNorm2d(3), nn.Sequential(nn.MaxPool2d(2), model[2])
    with pytest.raises(NotPackable, match="pooling stands between batch norm and activation of"):
        bnnlab.pack(model, SHAPE)
