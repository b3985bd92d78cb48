"""Scores of generated sentences by reference sentences, equal to those of COCO's caption evaluation.

Sentences are sequences of words; `ops.words.words_of` makes them. Source: Chen et al. 2015, arXiv:1504.00325, and its
release pycocoevalcap, whose numbers these are on the same words.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

Words = Sequence[str]
Gram = tuple[str, ...]
LONGEST = 4  # words of the n-grams
_BETA = 1.2  # how much more ROUGE-L counts recall than precision
_SIGMA = 6.0  # of CIDEr-D's penalty on lengths, in pairs of words
_SMALL, _TINY = 1e-9, 1e-15  # of the release, so that nothing found gives nearly 0


def ngrams(sentence: Words) -> Counter[Gram]:
    """How often each run of one to four words occurs.

    >>> ngrams(["a", "b"])
    Counter({('a',): 1, ('b',): 1, ('a', 'b'): 1})
    """
    return Counter(
        tuple(sentence[first : first + length])
        for length in range(1, LONGEST + 1)
        for first in range(len(sentence) - length + 1)
    )


def bleu(sentences: Sequence[Words], references: Sequence[Sequence[Words]]) -> list[float]:
    """BLEU-1 to BLEU-4 of a whole corpus, 0 to 1: counts are added over all sentences before they are divided.

    The length that a sentence is compared with is that of its nearest reference, of two equally near ones the shorter.

    Args:
        sentences: one an image.
        references: some of each image.

    Source: Papineni et al. 2002, "BLEU: a method for automatic evaluation of machine translation".

    >>> [round(score, 2) for score in bleu([["a", "dog", "runs"]], [[["a", "dog", "sits"]]])]
    [0.67, 0.58, 0.0, 0.0]
    """
    right, answered = [0] * LONGEST, [0] * LONGEST
    length = reference_length = 0
    for sentence, known in zip(sentences, references, strict=True):
        most: Counter[Gram] = Counter()
        for reference in known:
            most |= ngrams(reference)
        length += len(sentence)
        reference_length += min((abs(len(one) - len(sentence)), len(one)) for one in known)[1]
        for gram, count in ngrams(sentence).items():
            right[len(gram) - 1] += min(count, most[gram])
            answered[len(gram) - 1] += count
    ratio = (length + _TINY) / (reference_length + _SMALL)
    penalty = math.exp(1 - 1 / ratio) if ratio < 1 else 1.0
    product, scores = 1.0, []
    for order, (count, total) in enumerate(zip(right, answered, strict=True), start=1):
        product *= (count + _TINY) / (total + _SMALL)
        scores.append(product ** (1 / order) * penalty)
    return scores


def rouge_l(sentences: Sequence[Words], references: Sequence[Sequence[Words]]) -> float:
    """ROUGE-L, 0 to 1: by the longest common subsequence, precision and recall of the best reference of each.

    Args:
        sentences: one an image.
        references: some of each image.

    Source: Lin 2004, "ROUGE: a package for automatic evaluation of summaries".

    >>> round(rouge_l([["a", "big", "dog"]], [[["a", "dog"]]]), 3)
    0.83
    """
    return math.fsum(map(_rouge_l, sentences, references)) / len(sentences)


def _rouge_l(sentence: Words, references: Sequence[Words]) -> float:
    common = [common_length(sentence, one) for one in references]
    if not max(common):
        return 0.0
    precision = max(common) / len(sentence)
    recall = max(count / len(one) for count, one in zip(common, references, strict=True) if one)
    return (1 + _BETA**2) * precision * recall / (recall + _BETA**2 * precision)


def common_length(first: Words, second: Words) -> int:
    """The number of words of the longest sequence that both have in this order, whatever stands between.

    >>> common_length("the old man sits".split(), "the man there sits".split())
    3
    """
    above = [0] * (len(second) + 1)
    for word in first:
        row = [0]
        for position, other in enumerate(second):
            row.append(above[position] + 1 if word == other else max(above[position + 1], row[-1]))
        above = row
    return above[-1]


def cider_d(sentences: Sequence[Words], references: Sequence[Sequence[Words]]) -> float:
    """CIDEr-D, 0 to 10: the cosine of n-grams weighed by how few images have them, averaged over references.

    Args:
        sentences: one an image.
        references: some of each image, of which the frequencies are counted; of one image alone the score is 0.

    Source: Vedantam et al. 2015, arXiv:1411.5726, section 6.

    >>> one, other = "a dog runs on grass".split(), "two men sit down there".split()
    >>> cider_d([one, other], [[one], [other]])
    10.0
    """
    counted = [[ngrams(one) for one in known] for known in references]
    images = Counter(gram for known in counted for gram in set().union(*known))
    everything = math.log(len(sentences))
    rarity = {gram: everything - math.log(count) for gram, count in images.items()}
    scores = []
    for sentence, known in zip(sentences, counted, strict=True):
        mine = _weighed(ngrams(sentence), rarity, everything)
        each = [_likeness(mine, _weighed(one, rarity, everything)) for one in known]
        scores.append(10 * math.fsum(each) / len(each))
    return math.fsum(scores) / len(scores)


def _weighed(counts: Mapping[Gram, int], rarity: Mapping[Gram, float], most: float) -> list[dict[Gram, float]]:
    """The n-grams of each length with their weights; the last item has the number of pairs of words alone."""
    vectors: list[dict[Gram, float]] = [{} for _ in range(LONGEST + 1)]
    for gram, count in counts.items():
        vectors[len(gram) - 1][gram] = count * rarity.get(gram, most)
    vectors[LONGEST][()] = sum(count for gram, count in counts.items() if len(gram) == 2)
    return vectors


def _likeness(mine: list[dict[Gram, float]], other: list[dict[Gram, float]]) -> float:
    """Cosines of the four vectors, averaged; more of an n-gram than the reference has counts as much as that."""
    apart = mine[LONGEST][()] - other[LONGEST][()]
    cosines = []
    for first, second in zip(mine[:LONGEST], other[:LONGEST], strict=True):
        lengths = math.hypot(*first.values()) * math.hypot(*second.values())
        shared = math.fsum(min(first[gram], second[gram]) * second[gram] for gram in first.keys() & second.keys())
        cosines.append(shared / lengths if lengths else 0.0)
    return math.fsum(cosines) / LONGEST * math.exp(-(apart**2) / (2 * _SIGMA**2))
