"""How much of a wrong value a message shows."""

import pytest

from unpool.data.readers.coco_checks import require_consistent


@pytest.mark.parametrize("letters", [58, 59])
def test_value_is_shown_whole_up_to_sixty_characters(letters):
    text = "".join(chr(97 + i % 26) for i in range(letters))  # and two quotes
    with pytest.raises(ValueError, match="id is 'abc") as caught:
        require_consistent({"images": [{"id": text}]})
    assert (f"id is '{text}'; expected" in str(caught.value)) == (letters == 58)
    assert ("..." in str(caught.value)) == (letters == 59)
