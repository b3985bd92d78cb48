"""Captioners step by step, against the equations of their papers written out."""

import pytest
import torch
from torch import nn

from unpool import models
from unpool.ops.sequence_outputs import Begun

WORDS = 9


class Eye(nn.Module):
    """A backbone of two maps that halves the image once and twice."""

    channels, strides = (4, 6), (2, 4)

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 2, 2), nn.Conv2d(4, 6, 2, 2)

    def forward(self, image):
        first = self.first(image)
        return first, self.second(first)


def captioner(name, **options):
    torch.manual_seed(0)
    build = models.MODELS[name].build
    return build(Eye(), num_classes=WORDS, embedding=5, hidden=7, **options).eval()


NAMES = {"caption_rnn": {}, "caption_lstm": {}, "caption_attention": {"at_stride": 4}}
IMAGE = torch.rand(2, 3, 8, 12, generator=torch.Generator().manual_seed(0))


def test_decoder_at_the_size_of_the_paper_has_its_number_of_parameters():
    """V'E + HE + HH + H + (4096 H + H) + V'H + V', with V' = 2539, E = 300, H = 512."""
    with torch.device("meta"):
        network = models.build("vgg16_caption_rnn")
    decoder = sum(weight.numel() for name, weight in network.named_parameters() if not name.startswith("backbone."))
    assert decoder == 4_578_127


def test_recurrent_network_adds_the_image_at_the_first_word_and_never_again():
    network = captioner("caption_rnn")
    features = network.see(IMAGE)
    first = network.step(torch.tensor([0, 0]), network.begin(features))
    second = network.step(torch.tensor([3, 4]), Begun(first.state))
    x, w = network.words.weight, network.recurrent.weight
    image, bias = features @ network.image.weight.T + network.image.bias, network.input.bias
    one = (x[[0, 0]] @ network.input.weight.T + bias + image).relu()  # h_0 = 0
    two = (x[[3, 4]] @ network.input.weight.T + one @ w.T + bias).relu()
    torch.testing.assert_close(first.hidden, one)
    torch.testing.assert_close(second.hidden, two)
    assert not second.state[1].any()


def test_lstm_reads_the_image_as_if_it_were_a_word_before_the_first():
    network = captioner("caption_lstm")
    features = network.see(IMAGE)
    image = features @ network.image.weight.T + network.image.bias
    state = network.recurrent(image)
    for words in ([0, 0], [3, 4], [1, 2]):
        state = network.recurrent(network.words.weight[words], state)
    begun = network.begin(features)
    for words in ([0, 0], [3, 4], [1, 2]):
        begun = Begun(network.step(torch.tensor(words), begun).state)
    torch.testing.assert_close(begun.state[0], state[0])


def test_attention_is_a_softmax_over_the_parts_of_the_map_anew_for_each_word():
    network = captioner("caption_attention", at_stride=4)
    features = network.see(IMAGE)
    begun = network.begin(features)
    first = network.step(torch.tensor([0, 0]), begun)
    second = network.step(torch.tensor([3, 4]), Begun(first.state, begun.fixed))
    assert first.weights.shape == (2, 2, 3)
    torch.testing.assert_close(first.weights.sum((1, 2)), torch.ones(2))
    assert not torch.allclose(first.weights, second.weights)
    hidden = begun.state[0]
    part = features.flatten(2).mT  # (B, places, C)
    energy = torch.stack([network.energy(torch.tanh(network.keys(a) + network.query(hidden))) for a in part.unbind(1)])
    torch.testing.assert_close(first.weights.flatten(1), energy[..., 0].softmax(0).T)


def test_attention_goes_with_the_parts_of_a_map_wherever_they_lie():
    """The mean and a softmax know no order: a mirrored map gives mirrored weights and the same words."""
    network = captioner("caption_attention", at_stride=4)
    features = network.see(IMAGE)
    word = torch.tensor([0, 0])
    plain, mirrored = (network.step(word, network.begin(maps)) for maps in (features, features.flip(3)))
    torch.testing.assert_close(plain.weights.flip(2), mirrored.weights)
    torch.testing.assert_close(plain.hidden, mirrored.hidden)


@pytest.mark.parametrize(("name", "options"), NAMES.items())
def test_forward_gives_the_scores_of_the_first_word_and_the_features(name, options):
    network = captioner(name, **options)
    seen = network(IMAGE)
    torch.testing.assert_close(seen.features, network.see(IMAGE))
    first = network.step(torch.tensor([0, 0]), network.begin(seen.features))
    torch.testing.assert_close(seen.scores, network.scores(first.hidden))
    assert seen.scores.shape == (2, WORDS)
    assert network.seeing == (network.backbone,)
    last = network.backbone(IMAGE)[-1]
    torch.testing.assert_close(seen.features, last if options else last.mean((2, 3)))


@pytest.mark.parametrize(("name", "options"), NAMES.items())
def test_dropout_lies_between_layers_and_not_from_step_to_step(name, options):
    """All of the layer before the scores is dropped: the state goes on as if nothing were."""
    network = captioner(name, **options)
    begun, word = network.begin(network.see(IMAGE)), torch.tensor([1, 2])
    plain = network.step(word, begun)
    dropped = network.step(word, begun, (torch.ones(2, 5), torch.zeros(2, 7)))
    assert all(torch.equal(one, other) for one, other in zip(plain.state, dropped.state, strict=True))
    assert not torch.equal(plain.hidden, dropped.hidden)
    assert not torch.equal(plain.state[0], network.step(word, begun, (torch.zeros(2, 5), torch.ones(2, 7))).state[0])


@pytest.mark.parametrize(("name", "options"), NAMES.items())
def test_dropout_draws_a_row_for_each_image_in_training_alone(name, options):
    network = captioner(name, **options, dropout=0.5)
    assert network.drawn(3) is None
    kept = network.train().drawn(300)
    assert [tuple(factors.shape) for factors in kept] == [(300, 5), (300, 7)]
    assert all(set(factors.unique().tolist()) == {0.0, 2.0} for factors in kept)


def test_weights_of_vgg_s_hidden_layers_are_those_of_its_classifier(tmp_path):
    from safetensors.torch import save_file

    torch.manual_seed(0)
    classifier = models.build("vgg16", width=4, num_classes=3)
    save_file(classifier.state_dict(), tmp_path / "vgg.safetensors")
    network = models.build("vgg16_caption_rnn", width=4, num_classes=WORDS, weights=tmp_path / "vgg.safetensors").eval()
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        hidden = classifier.eval().head[:-2](classifier.backbone(image)[-1])
        torch.testing.assert_close(network.see(image), hidden)
