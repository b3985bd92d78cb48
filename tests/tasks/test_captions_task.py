"""What a captioner learns, how captions are searched, and where features and vectors of words come from."""

import logging
import shutil

import pytest
import torch
from torch import nn

from unpool import models
from unpool.errors import DataError, RecipeError
from unpool.layers.transfer import freeze
from unpool.ops.sequence_outputs import Begun, Spoken
from unpool.ops.words import as_bytes, words_of
from unpool.task import TrainingSetup
from unpool.tasks.caption_search import search
from unpool.tasks.captions import Captions
from unpool.tasks.word_vectors import read_vectors, skip_gram
from unpool.training.step import total_loss
from unpool.training.whole_batch import as_one
from unpool.types import Backbone, DataInfo, Part

INFO = DataInfo(words=("a", "dog", "runs", "cat"))  # numbers 1 to 4 of the network, 0 being the end
IMAGES = torch.rand(3, 3, 8, 12, generator=torch.Generator().manual_seed(0))
CAPTIONS = (
    ["A dog runs.", "a dog"],
    ["the cat runs, a dog runs"],
    ["birds"],
)  # "the" and "birds" are not in the vocabulary
NUMBERS = ([[1, 2, 3], [1, 2]], [[4, 3, 1, 2, 3]], [[]])


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


class Eye(Backbone):
    channels, strides = (4,), (2,)

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 2, 2)

    def forward(self, image):
        return (self.conv(image),)


def captioner(name="caption_attention", *, frozen=True, dropout=0.0):
    torch.manual_seed(0)
    at = {"at_stride": 2} if name == "caption_attention" else {}
    network = models.MODELS[name].build(Eye(), num_classes=5, embedding=6, hidden=7, dropout=dropout, **at)
    if frozen:
        network.backbone.requires_grad_(requires_grad=False).eval()
        network.backbone.train = lambda mode=True: network.backbone
    return network


def batch():
    return {"image": IMAGES, "captions": [as_bytes(some) for some in CAPTIONS], "index": torch.arange(3)}


@pytest.mark.parametrize("name", ["caption_rnn", "caption_lstm", "caption_attention"])
def test_each_word_is_predicted_from_those_before_it_and_the_end_from_the_last(name):
    """Every caption by itself, word by word, as the paper writes it."""
    network = captioner(name).eval()
    losses = Captions(INFO, attention_weight=2.0).losses(network, batch())
    nats, count, uneven = 0.0, 0, 0.0
    for image, captions in zip(IMAGES, NUMBERS, strict=True):
        for numbers in captions:
            begun, looked = network.begin(network.see(image[None])), 0.0
            for before, after in zip([0, *numbers], [*numbers, 0], strict=True):
                spoken = network.step(torch.tensor([before]), begun)
                nats -= network.scores(spoken.hidden).log_softmax(1)[0, after].item()
                begun, count = Begun(spoken.state, begun.fixed), count + 1
                looked = looked + spoken.weights if spoken.weights is not None else 0.0
            uneven += (1 - looked).square().sum().item() if name == "caption_attention" else 0.0
    assert losses["cross_entropy"].sum.item() == pytest.approx(nats, rel=1e-5)
    assert float(losses["cross_entropy"].count) == count == 14
    if name == "caption_attention":
        assert losses["attention"].sum.item() == pytest.approx(uneven, rel=1e-5)
        assert losses["attention"].weight == 2.0
    else:
        assert losses.keys() == {"cross_entropy"}


def test_several_processes_drop_what_one_does():
    """The losses of the parts of a batch, as two processes with the same seed draw them, add up to those of one."""
    network, task = captioner("caption_lstm", dropout=0.5).train(), Captions(INFO)
    whole = batch()
    sums = []
    for first, count in ((0, 3), (0, 2), (2, 1)):
        torch.manual_seed(7)
        part = {key: value[first : first + count] for key, value in whole.items()}
        with as_one(None if count == 3 else Part(first, count, 3), norms=False):
            sums.append(task.losses(network, part)["cross_entropy"].sum.item())
    assert sums[0] == pytest.approx(sums[1] + sums[2], rel=1e-5)


class Table:
    """A network whose next word depends on the last one alone: row `word` has the shares of what follows."""

    def __init__(self, rows):
        self.rows = torch.tensor(rows).log()

    def step(self, word, begun):
        return Spoken(self.rows[word], begun.state)

    def scores(self, hidden):
        return hidden


# after the start 1 is likelier than 2, but whatever follows 1 is unlikely, and 2 is followed by the end
TRAP = Table([[0.0, 0.6, 0.4], [0.3, 0.4, 0.3], [0.9, 0.05, 0.05]])
START = Begun((torch.zeros(2, 1),))


def test_beam_of_one_takes_the_likeliest_word_each_time_and_a_wider_one_finds_likelier_captions():
    greedy = search(TRAP, START, beam=1, longest=4)
    assert [words.tolist() for words in greedy.words] == 2 * [[1, 1, 1, 1]]
    assert greedy.score.exp().tolist() == pytest.approx(2 * [0.6 * 0.4**3])
    for beam in (2, 3, 7):
        wide = search(TRAP, START, beam=beam, longest=4)
        assert [words.tolist() for words in wide.words] == 2 * [[2]]
        assert wide.score.exp().tolist() == pytest.approx(2 * [0.4 * 0.9])


@pytest.mark.parametrize("name", ["caption_rnn", "caption_attention"])
def test_beam_of_one_is_the_greedy_loop_written_out(name):
    network = captioner(name).eval()
    with torch.inference_mode():
        answer = Captions(INFO, longest=5).answer(network, {"image": IMAGES})
        for i, image in enumerate(IMAGES):
            begun, word, words, score = network.begin(network.see(image[None])), 0, [], 0.0
            while len(words) < 5:
                spoken = network.step(torch.tensor([word]), begun)
                shares = network.scores(spoken.hidden).log_softmax(1)[0]
                word = int(shares.argmax())
                score += float(shares[word])
                if word == 0:
                    break
                words.append(word)
                begun = Begun(spoken.state, begun.fixed)
            assert (answer["captions"][i] + 1).tolist() == words
            assert float(answer["score"][i]) == pytest.approx(score, abs=1e-5)
            assert len(answer["attention"][i]) == len(words)


class Remembering(Table):
    """The same, but it is the first word of a caption that all later ones depend on, which the state holds."""

    def step(self, word, begun):
        first = begun.state[0][:, 0].long()
        first = torch.where(first == 0, word, first)
        return Spoken(self.rows[first], (first[:, None].float(),))


def test_each_beginning_goes_on_from_its_state_whatever_its_rank():
    """2 1 (0.4 * 0.8) overtakes 1 1 (0.6 * 0.5) at the second word, and 2 1 1 (0.4 * 0.8 * 0.8) is the likeliest."""
    speaker = Remembering([[0.0, 0.6, 0.4], [0.2, 0.5, 0.3], [0.1, 0.8, 0.1]])
    for beam in (2, 4):
        likeliest = search(speaker, START, beam=beam, longest=3)
        assert [words.tolist() for words in likeliest.words] == 2 * [[2, 1, 1]]
        assert likeliest.score.exp().tolist() == pytest.approx(2 * [0.4 * 0.8 * 0.8])


def test_answers_of_two_images_are_those_of_each_alone_with_a_beam():
    network = captioner().eval()
    task = Captions(INFO, beam=3, longest=5)
    with torch.inference_mode():
        whole = task.answer(network, {"image": IMAGES})
        for i in range(3):
            alone = task.answer(network, {"image": IMAGES[i : i + 1]})
            assert torch.equal(alone["captions"][0], whole["captions"][i])
            torch.testing.assert_close(alone["attention"][0], whole["attention"][i])


def test_features_of_a_frozen_backbone_go_through_it_once_and_are_the_same_bits_from_the_cache():
    network, task = captioner(dropout=0.5).train(), Captions(INFO)
    torch.manual_seed(5)
    cold = total_loss(task.losses(network, batch()))
    assert task.features.computed == 3
    torch.manual_seed(5)
    assert torch.equal(total_loss(task.losses(network, batch())), cold)  # dropout draws the same numbers, too
    other = Captions(INFO)  # another process finds them on the disk
    torch.manual_seed(5)
    assert torch.equal(total_loss(other.losses(network, batch())), cold)
    assert (task.features.computed, other.features.computed) == (3, 0)
    cold.backward()
    assert all(weight.grad is None for weight in network.backbone.parameters())


def test_features_of_other_weights_or_images_are_computed_anew():
    network, task = captioner().eval(), Captions(INFO)
    first = task.features.of(network, IMAGES)
    with torch.no_grad():
        network.backbone.conv.weight.mul_(2.0)
    second = task.features.of(network, IMAGES)
    assert torch.equal(second, torch.cat([network.see(one[None]) for one in IMAGES]))
    assert not torch.equal(first, second)
    assert not torch.equal(task.features.of(network, IMAGES.flip(3)), second)
    network.seen = "another map of the same backbone"
    task.features.of(network, IMAGES)
    assert task.features.computed == 12
    other = captioner().eval()
    other.load_state_dict(network.state_dict())
    other.seen, other.backbone.conv.dilation = network.seen, (2, 2)  # equal weights in another network
    assert torch.equal(task.features.of(other, IMAGES), torch.cat([other.see(one[None]) for one in IMAGES]))


def test_nothing_is_kept_on_a_disk_that_is_nearly_full(tmp_path, monkeypatch):
    network, task = captioner().eval(), Captions(INFO)
    usage = shutil.disk_usage(tmp_path)._replace(total=1000, free=49)
    monkeypatch.setattr("unpool.tasks.frozen_features.shutil.disk_usage", lambda path: usage)
    assert torch.equal(task.features.of(network, IMAGES), torch.cat([network.see(one[None]) for one in IMAGES]))
    assert not list(tmp_path.rglob("*.npy"))


def test_damaged_file_of_features_is_replaced(tmp_path):
    network = captioner().eval()
    first = Captions(INFO).features.of(network, IMAGES)
    for path in (tmp_path / "cache").rglob("*.npy"):
        path.write_bytes(b"\x93NUMPY")
    again = Captions(INFO)
    assert torch.equal(again.features.of(network, IMAGES), first)
    assert again.features.computed == 3


def test_backbone_that_is_trained_gets_a_gradient_and_leaves_nothing_in_the_cache(tmp_path):
    network, task = captioner(frozen=False).train(), Captions(INFO)
    total_loss(task.losses(network, batch())).backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in network.backbone.parameters())
    with torch.inference_mode():
        task.answer(network.eval(), {"image": IMAGES})
    assert not (tmp_path / "cache").exists()


def test_network_that_says_no_words_and_one_of_another_vocabulary_are_refused():
    with pytest.raises(RecipeError, match="Linear says no words; captions need a network such as caption_lstm"):
        Captions(INFO).losses(nn.Linear(2, 2), batch())
    with pytest.raises(RecipeError, match="scores 5 words where 3 were due"):
        Captions(DataInfo(words=("a", "dog"))).losses(captioner(), batch())
    with pytest.raises(RecipeError, match="captions need the words of a vocabulary"):
        Captions(DataInfo())


@pytest.mark.parametrize("word", ["Dog", "new york", "dog.", "", "don\u2019t"])
def test_vocabulary_of_what_is_never_a_caption_s_word_is_refused(word):
    """Else every caption would be learned without it."""
    with pytest.raises(RecipeError, match=r"which no caption is found to have: its words are in small letters"):
        Captions(DataInfo(words=("a", word)))


def test_captions_without_a_word_of_the_vocabulary_are_counted():
    setup = TrainingSetup(("image",), (), (), None, keeps_scale=False, sizes_hw=(), sets=(Samples(*CAPTIONS),))
    (warning,) = Captions(INFO).warnings(setup)
    assert warning.startswith("1 of the training captions have no word of the vocabulary")
    assert Captions(INFO).warnings(setup._replace(sets=(Samples(*CAPTIONS[:2]),))) == []


def test_meteor_that_is_left_out_is_said_once_in_training_and_in_evaluation_alone(monkeypatch, caplog):
    monkeypatch.setattr("unpool.metrics.meteor_program.shutil.which", lambda name: None)
    setup = TrainingSetup(("image",), (), (), None, keeps_scale=False, sizes_hw=())
    trained, evaluated = Captions(INFO, meteor=True), Captions(INFO, meteor=True)
    (warning,) = trained.warnings(setup)
    assert "meteor" not in trained.metric().compute()
    assert not caplog.messages
    for _ in range(2):
        evaluated.metric()
    assert caplog.messages == [warning] == ["METEOR is left out: java is not on the PATH: install a Java runtime"]


VECTORS = {"word2vec": "3 2\ncat 1.5 2\ndog -1 0.25\nowl 0 0\n", "glove": "cat 1.5 2\ndog -1 0.25\nowl 0 0\n"}


@pytest.mark.parametrize("form", VECTORS)
def test_vectors_are_read_of_both_formats(form, tmp_path):
    (tmp_path / "vectors.txt").write_text(VECTORS[form])
    read = read_vectors(tmp_path / "vectors.txt", ("a", "dog", "cat"), 2)
    assert {word: vector.tolist() for word, vector in read.items()} == {"cat": [1.5, 2.0], "dog": [-1.0, 0.25]}


@pytest.mark.parametrize(
    ("text", "error", "told"),
    [
        ("cat 1 2 3\n", RecipeError, r"vectors of 3 numbers and model\.embedding is 2: set model\.embedding=3"),
        ("3 300\ncat 1 2\n", RecipeError, r"vectors of 300 numbers"),
        ("owl 1 2\ncat 1 x\n", DataError, r"line 2 has '1 x'; expected 2 finite numbers"),
        ("cat 1 nan\n", DataError, "line 1 has '1 nan'"),
        ("owl 1 2\n", DataError, "has none of the 2 words of the captions, such as 'dog'"),
        (None, DataError, "cannot be read as text"),
    ],
)
def test_file_of_other_vectors_is_refused_with_the_line(text, error, told, tmp_path):
    if text is not None:
        (tmp_path / "vectors.txt").write_text(text)
    with pytest.raises(error, match=told):
        read_vectors(tmp_path / "vectors.txt", ("dog", "cat"), 2)


def test_words_start_from_their_vectors_and_stay_there_where_they_are_frozen(tmp_path, caplog):
    (tmp_path / "v.txt").write_text("cat 1 2 3 4 5 6\n")
    network, before = captioner(), captioner().words.weight
    task = Captions(INFO, word_vectors=str(tmp_path / "v.txt"))
    with caplog.at_level(logging.INFO):
        task.initialize(network, from_file=False)
    assert network.words.weight[4].tolist() == [1, 2, 3, 4, 5, 6]  # "cat" is the fourth word
    assert torch.equal(network.words.weight[:4], before[:4])
    assert "has 1 of 4 words" in caplog.text
    freeze(network, ("words",))
    assert [name for name, weight in network.named_parameters() if not weight.requires_grad] == [
        "backbone.conv.weight",
        "backbone.conv.bias",
        "words.weight",
    ]
    assert task.saved() == {"word_vectors": None}
    again = captioner()
    task.initialize(again, from_file=True)
    assert torch.equal(again.words.weight, before)
    assert "is not used: the words have the vectors of the weights" in caplog.text


class Samples:
    def __init__(self, *captions):
        self.captions = captions

    def __len__(self):
        return len(self.captions)

    def targets(self, index):
        return {"captions": as_bytes(self.captions[index])}


def test_skip_gram_brings_words_together_that_stand_beside_the_same_words():
    """0 and 1 stand between 2 and 3, 4 and 5 between 6 and 7."""
    sentences = 60 * [[2, 0, 3], [2, 1, 3], [6, 4, 7], [6, 5, 7]]
    vectors = skip_gram(sentences, count=8, dim=6, seed=0)
    assert torch.equal(vectors, skip_gram(sentences, count=8, dim=6, seed=0))
    likeness = nn.functional.cosine_similarity(vectors[:, None], vectors[None], dim=2)
    with pytest.raises(DataError, match="no training caption has two words of the vocabulary"):
        skip_gram([[0], [], [1]], count=2, dim=3, seed=0)
    assert min(likeness[0, 1], likeness[4, 5]) > likeness[:2, 4:6].max() + 0.2
    network = captioner()
    task = Captions(INFO, word_vectors="skip_gram", samples=Samples(*CAPTIONS))
    task.initialize(network, from_file=False)
    assert not torch.equal(network.words.weight[1:], captioner().words.weight[1:])
    assert torch.equal(network.words.weight[0], captioner().words.weight[0])


def test_usual_caption_of_training_is_what_a_captioner_is_compared_with():
    train = Samples(["a dog runs", "two birds fly"], ["a dog sits"], ["a dog runs fast"])
    made = Captions(INFO).baseline(train, Samples(["a dog runs"], ["a cat runs"]), {})
    assert made.metric == "cider"
    assert made.about.startswith('"a dog runs"')


@pytest.mark.parametrize("name", ["flip", "turn"])
def test_mirrored_and_turned_images_are_warned_of_where_captions_say_a_side(name):
    setup = TrainingSetup(("image",), (name,), (), None, keeps_scale=False, sizes_hw=())
    assert Captions(INFO).warnings(setup) == []
    (warning,) = Captions(DataInfo(words=("left",))).warnings(setup)
    assert "these say left" in warning


def test_report_and_picture_show_where_each_word_looked():
    network, task = captioner().eval(), Captions(INFO, longest=3)
    with torch.inference_mode():
        answer = task.answer(network, {"image": IMAGES})
    record = task.record({key: value[0] for key, value in answer.items()} | {"captions": torch.tensor([0, 1, 2])})
    record["attention"] = torch.rand(3, 4, 6)
    assert (record["caption"], record["words"]) == ("a dog runs", ["a", "dog", "runs"])
    image = torch.zeros(3, 60, 90, dtype=torch.uint8)
    shown = task.exhibit(image, {"captions": as_bytes(["A dog."])}, record)
    assert [name for name, _ in shown.pictures] == ["", "a", "dog", "runs"]
    assert shown.caption == "answer: a dog runs; people wrote: A dog."
    assert task.draw(image, task.thinned(record, 2)).shape[2] > 90
    assert task.draw(image, {"captions": as_bytes(["A dog."])}).shape[0] == 3
    assert len(task.write(record, None)["attention"]) == 3
    assert words_of(task.brief(record)) == ("a", "dog", "runs")
