"""BLEU, ROUGE-L and CIDEr-D: hand counts, properties, and COCO's own evaluation where it is installed."""

import math
import random
from contextlib import redirect_stdout
from io import StringIO

import pytest

from unpool.metrics.sentences import bleu, cider_d, common_length, rouge_l
from unpool.ops.words import as_bytes, texts_of, vocabulary, words_of

WORDS = words_of("a the man dog red ball plays runs with in on grass two snow girl jumps")


def corpus(seed):
    """Sentences and references of a few images, some words of each taken from a reference, as a captioner's are."""
    draw = random.Random(seed)
    references, sentences = [], []
    for _ in range(draw.randint(2, 8)):
        known = [draw.choices(WORDS, k=draw.randint(1, 14)) for _ in range(draw.randint(1, 5))]
        sentence = list(draw.choice(known)) if draw.random() < 0.7 else draw.choices(WORDS, k=draw.randint(1, 12))
        for _ in range(draw.randint(0, 3)):
            sentence[draw.randrange(len(sentence))] = draw.choice([*WORDS, "unseen"])
        references.append(known)
        sentences.append(sentence[: draw.randint(1, 14)])
    return sentences, references


@pytest.mark.parametrize("part", range(4))
def test_scores_are_those_of_pycocoevalcap_on_random_corpora(part):
    """Two hundred corpora in all; the same words on both sides."""
    scorers = pytest.importorskip("pycocoevalcap.bleu.bleu")
    rouge = pytest.importorskip("pycocoevalcap.rouge.rouge").Rouge()
    cider = pytest.importorskip("pycocoevalcap.cider.cider").Cider()
    for seed in range(50 * part, 50 * part + 50):
        sentences, references = corpus(seed)
        answers = {i: [" ".join(one)] for i, one in enumerate(sentences)}
        known = {i: [" ".join(one) for one in each] for i, each in enumerate(references)}
        with redirect_stdout(StringIO()):
            theirs = [*scorers.Bleu(4).compute_score(known, answers, verbose=0)[0]]
        theirs += [rouge.compute_score(known, answers)[0], cider.compute_score(known, answers)[0]]
        ours = [*bleu(sentences, references), rouge_l(sentences, references), cider_d(sentences, references)]
        assert ours == pytest.approx(theirs, abs=1e-4, rel=1e-6)


def test_a_reference_as_the_answer_has_every_score_full():
    references = [[words_of("a man rides a red horse"), words_of("somebody on it")], [words_of("two dogs run in snow")]]
    answers = [known[0] for known in references]
    assert bleu(answers, references) == pytest.approx([1, 1, 1, 1])
    assert rouge_l(answers, references) == pytest.approx(1)
    assert cider_d([answers[1]] * 2, [[answers[1]], [answers[0]]]) == pytest.approx(5)


def test_bleu_is_of_the_corpus_not_the_mean_of_its_sentences():
    """3 of 4 words and 0 of 1: 3 of 5, where the mean of sentences would be 3 of 8."""
    answers, references = [list("abcx"), ["y"]], [[list("abcd")], [["z"]]]
    assert bleu(answers, references)[0] == pytest.approx(3 / 5)


@pytest.mark.parametrize(("length", "penalty"), [(2, math.exp(1 - 4 / 2)), (4, 1.0), (6, 1.0)])
def test_answers_shorter_than_their_nearest_reference_are_penalised(length, penalty):
    assert bleu([["a"] * length], [[["a"] * 9, ["a"] * 4]])[0] == pytest.approx(penalty)


def test_of_two_equally_near_references_the_shorter_one_counts():
    assert bleu([["a"] * 3], [[["a"] * 4, ["a"] * 2]])[0] == pytest.approx(1.0)


def test_a_word_counts_as_often_as_the_reference_with_most_of_it_has_it():
    """Papineni's example: "the" seven times, of which the references have two at most."""
    known = [words_of("The cat is on the mat."), words_of("There is a cat on the mat.")]
    assert bleu([["the"] * 7], [known])[0] == pytest.approx(2 / 7)


@pytest.mark.parametrize(
    ("first", "second", "length"), [("a b c d", "b d", 2), ("b d", "a b c d", 2), ("a b", "b a", 1), ("a", "b", 0)]
)
def test_common_words_keep_their_order(first, second, length):
    assert common_length(first.split(), second.split()) == length


def test_an_empty_answer_scores_nothing_and_raises_nothing():
    references = [[["a", "dog"]], [["a", "cat"]]]
    answers = [(), ("a", "cat")]
    assert 0 < bleu(answers, references)[0] < 1
    assert rouge_l(answers, references) == 0.5
    assert cider_d(answers, references) > 0


def test_words_that_every_image_has_count_nothing_in_cider():
    references = [[["a", "dog"]], [["a", "cat"]]]
    assert cider_d([["a"], ["a"]], references) == 0


def test_words_of_a_vocabulary_occur_often_enough_in_a_fixed_order():
    captions = ["A dog, a cat.", "a Dog!", "the cat"]
    assert vocabulary(captions, least=2) == ("a", "cat", "dog")
    assert vocabulary(captions, least=1) == ("a", "cat", "dog", "the")
    assert texts_of(as_bytes(captions)) == captions
    assert words_of("Don\u2019t, snake_case 3-year-old") == ("don't", "snake", "case", "3", "year", "old")


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("हिन्दी किताब", ("हिन्दी", "किताब")),  # vowels and the sign between two consonants are marks
        ("น้ำ ไม้", ("น้ำ", "ไม้")),
        ("İstanbul", ("i\u0307stanbul",)),
        ("a dog \u2764\ufe0f cats", ("a", "dog", "cats")),  # a mark behind what is no letter
    ],
    ids=["Hindi", "Thai", "Turkish", "sign"],
)
def test_marks_belong_to_the_letters_before_them(caption, words):
    assert words_of(caption) == words
